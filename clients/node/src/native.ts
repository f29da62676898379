import { createRequire } from "node:module";

/** Handles of the addon, which only it looks into. */
declare const kind: unique symbol;
export type NativeClient = { readonly [kind]: "client" };
export type NativeHandle = { readonly [kind]: "reply" };

/** What a call says; what is not there is 0 or empty. */
export interface Fields {
	id?: bigint;
	flags?: number;
	/** Milliseconds; 0 means 30 s. */
	timeout?: number;
	number?: bigint;
	length?: bigint;
	fd?: number;
	text?: string;
	data?: Uint8Array;
	reply?: NativeHandle;
}

/** What a call gave; which fields depends on the operation. Lengths that are not known are -1. */
export interface Given {
	buffer: ArrayBuffer;
	handle: NativeHandle;
	length: number;
	total: number;
	status: number;
	offset: number;
	file: string;
	id: bigint;
	instance: string;
	fd: number;
	number: bigint;
	kind: number;
	peer: string;
	state: number;
	error: string;
	received: number;
	sent: number;
}

/** What a failed call rejects with. */
export interface Failure {
	code: string;
	errno: number;
	hint: string;
	message: string;
}

/** src/addon.c */
interface Native {
	open(path?: string): NativeClient;
	call(client: NativeClient, op: number, fields: Fields): Promise<Given>;
	free(client: NativeClient, reply: NativeHandle, buffer: ArrayBuffer): void;
	readonly HELLO: number;
	readonly RECV_MSG: number;
	readonly AWAIT: number;
	readonly CALL: number;
	readonly NEXT: number;
	readonly RESPOND: number;
	readonly MARK: number;
	readonly SEND_MSG: number;
	readonly GET_CONN: number;
	readonly TRANSFER_CONN: number;
	readonly CONN_STATUS: number;
	readonly PROGRESSIVE: number;
	readonly BEGIN: number;
	readonly END: number;
	readonly ERROR: number;
}

export const native: Native = createRequire(import.meta.url)("./headstart.node");
