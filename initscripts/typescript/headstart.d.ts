/**
 * Module `headstart` of an initscript in TypeScript: the calls of the API (generated/headstart.d.ts) and a small library
 * over them. The runner has it in each script's isolate (src/isolates/js/headstart.ts); a bundle does not.
 */
/// <reference path="./generated/headstart.d.ts" />

declare module "headstart" {
	/** The invocation's input as a JSON value; undefined when it is empty. Throws SyntaxError. */
	export function inputJson<T = unknown>(): T;

	/** Waits for a message of the application's; gives its bytes. `recvMsg` and `readMsg` in one. */
	export function receive(id: Id): Promise<Uint8Array>;

	/** FNV-1a 64 of a text's UTF-8 bytes: its id. */
	export function fnv1a64(text: string): bigint;

	/**
	 * Fetches an object ahead: the reply is passed on, while it is still in flight, under the id that the application's
	 * storage library claims: the hash of "GET s3://bucket/key". Gives that id. With `to` it is received in a file of the
	 * application's (the manifest's `[app.files]`).
	 *
	 * @example s3Get(connect("s3://models"), "weights.onnx");
	 * @example s3Get(connect("s3://caches"), "warm", { place: "file:/var/cache/memcached.data" });
	 */
	export function s3Get(
		conn: number,
		key: string,
		to?: { place: string; offset?: number; room?: number },
	): bigint;

	/** The second argument of `main`: the same calls, for those who rather pass them on than import them. */
	export type Api = typeof import("headstart");
}
