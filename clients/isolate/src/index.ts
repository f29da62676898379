/** headstart for applications in isolates: what the initscript sent, and calls by the bridge. See docs/wasm.md. */
import { type Id, numberOf } from "../../node/src/id.ts";
import { bindings } from "./env.ts";
import { HeadstartError } from "./error.ts";
import { Reply } from "./reply.ts";

export { fnv1a64, type Id } from "../../node/src/id.ts";
export { HeadstartError } from "./error.ts";
export { Reply } from "./reply.ts";
export type { Context, Handler } from "./serve.ts";

export interface Wait {
	/** Milliseconds, 30,000 unless told otherwise. */
	timeout?: number;
}

/**
 * Receives a message of the initscript. `content` says what is expected ("GET s3://bucket/key"). Throws
 * {@link HeadstartError}: `miss`, `diverged`, `alreadyClaimed`, or the error of the RPC behind it.
 */
export async function recvMsg(
	id: Id,
	{ content = "", timeout = 0 }: Wait & { content?: string } = {},
): Promise<Reply> {
	const body = JSON.stringify({ id: String(numberOf(id)), content, timeout });
	return new Reply(await ask("receive", { body }));
}

/** Has the bridge do a call, "GET s3://bucket/key", with its signature. */
export async function call(
	request: string,
	{
		headers = {},
		body = new Uint8Array(),
		timeout = 0,
	}: Wait & { headers?: Record<string, string>; body?: Uint8Array | string } = {},
): Promise<Reply> {
	const lines = [request, ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`)];
	if (lines.some((line) => /[\r\n]/.test(line))) throw new TypeError("a line break in the head of a call");
	const head = new TextEncoder().encode(`${lines.join("\n")}\n\n`);
	const framing = { "x-headstart-head": String(head.length), "x-headstart-timeout": String(timeout) };
	return new Reply(await ask("call", { headers: framing, body: joined(head, bytesOf(body)) }));
}

/** Sends a message to the initscript's RecvMsg: at most 1 MiB. */
export async function sendMsg(id: Id, data: Uint8Array | string): Promise<void> {
	const response = await ask(`send/${numberOf(id)}`, { body: bytesOf(data) });
	await response.body?.cancel();
}

async function ask(path: string, init: RequestInit): Promise<Response> {
	const response = await bindings.BRIDGE.fetch(`http://bridge/${path}`, { method: "POST", ...init });
	if (response.status !== 200) throw await HeadstartError.of(response);
	return response;
}

function bytesOf(data: Uint8Array | string): Uint8Array {
	return typeof data === "string" ? new TextEncoder().encode(data) : data;
}

function joined(head: Uint8Array, body: Uint8Array): Uint8Array {
	const whole = new Uint8Array(head.length + body.length);
	whole.set(head);
	whole.set(body, head.length);
	return whole;
}
