/** One run of an initscript: its calls, of either format, on their way to its {@link HostApi}. */

import { requestMark } from "../../shared/fingerprint.ts";
import type { HostApi, Id, Outcome, ReplyPlace, ScriptMessage, ScriptOp, ScriptReply } from "../protocol.ts";
import { cut, ScriptEnd, ScriptFailure } from "./failure.ts";
import { limits } from "./limits.ts";
import {
	address as checkAddress,
	bytes as checkBytes,
	id as checkId,
	replyPlace as checkPlace,
	u32 as checkU32,
} from "./ops.ts";
import { Outbox } from "./outbox.ts";

/** Bytes for a caller with limited room: the first of them, and how many there are. */
export interface Filled {
	bytes: Uint8Array;
	length: number;
}

export class Session {
	readonly #host: HostApi;
	readonly #outbox: Outbox;
	readonly #input: Uint8Array;
	/** Replies that have come, some with their body. */
	readonly #replies = new Map<Id, ScriptReply>();
	/** Messages that were received, some with their body. */
	readonly #messages = new Map<Id, ScriptMessage>();
	#cachedBytes = 0;
	/** Whether a connection is the script's own still, by its handle. */
	readonly #connections = new Map<number, boolean>();
	/** What was sent under each RPC id: another request needs another id. */
	readonly #requests = new Map<Id, string>();
	#lastConnection = 0;
	/** The longest that a call may take, milliseconds; 0: as long as the script. */
	#timeoutMs = 0;
	#ended: ScriptEnd | undefined;
	readonly #onCall: (() => void) | undefined;

	/** @param onCall is told of each queued call, to see to it that the batch leaves. */
	constructor(host: HostApi, input: Uint8Array, onCall?: () => void) {
		this.#host = host;
		this.#outbox = new Outbox(host);
		this.#input = input;
		this.#onCall = onCall;
	}

	/** The handle is chosen here, so that nothing waits. Handles count from 1. */
	connect(address: string): number {
		const conn = this.#lastConnection + 1;
		this.#push({ op: "connect", conn, address: checkAddress(address) });
		this.#lastConnection = conn;
		this.#connections.set(conn, true);
		return conn;
	}

	sendRpc(conn: number, rpc: Id, request: Uint8Array): void {
		this.#send(conn, rpc, request, {});
	}

	sendRpcTo(conn: number, rpc: Id, request: Uint8Array, place: string, offset: number, room: number): void {
		this.#send(conn, rpc, request, { to: checkPlace(place, offset, room) });
	}

	sendMsg(id: Id, data: Uint8Array): void {
		this.#push({ op: "sendMsg", id: checkId(id), data: checkBytes(data) });
	}

	sendReply(id: Id, rpc: Id): void {
		this.#push({ op: "sendReply", id: checkId(id), rpc: checkId(rpc) });
	}

	transferConn(id: Id, address: string, conn: number): void {
		this.#checkOwned(conn);
		this.#push({ op: "transferConn", id: checkId(id), address: checkAddress(address), conn });
		this.#connections.set(conn, false);
	}

	expect(count: number): void {
		this.#push({ op: "expect", count: checkU32(count) });
	}

	expectMsg(id: Id): void {
		this.#push({ op: "expectMsg", id: checkId(id) });
	}

	log(text: string, level: "debug" | "info" | "warn" | "error" = "info"): void {
		this.#push({ op: "log", level, text: cut(text, limits.logCharacters - 1) });
	}

	input(capacity: number): Filled {
		return { bytes: this.#input.subarray(0, capacity), length: this.#input.byteLength };
	}

	async recvRpcReply(conn: number, rpc: Id): Promise<{ status: number; length: number }> {
		this.#checkConn(conn);
		const { status, length } = await this.#reply(rpc);
		return { status, length: Math.min(length, 0xffffffff) };
	}

	/** `length` is that of the body from `offset` on (at most 2^31 − 1), `bytes` as much of it as `capacity` allows. */
	async readReply(rpc: Id, offset: number, capacity: number): Promise<Filled> {
		checkU32(offset);
		const reply = await this.#reply(rpc);
		return this.#fill(reply, "reply", offset, capacity, (at, count) => this.#host.readReply(rpc, at, count));
	}

	/** The message's length, at most 2^32 − 1. */
	async recvMsg(id: Id): Promise<number> {
		this.#throwIfEnded();
		checkId(id);
		this.#outbox.flush();
		const message = unwrap(await this.#host.recvMsg(id, this.#timeout));
		this.#messages.set(id, this.#kept(message));
		return Math.min(message.length, 0xffffffff);
	}

	/** As {@link readReply}, of a message that was received. */
	async readMsg(id: Id, offset: number, capacity: number): Promise<Filled> {
		this.#throwIfEnded();
		const message = this.#messages.get(checkId(id));
		if (message === undefined) {
			throw new ScriptFailure("invalidArgument", `message ${id} was not received`);
		}
		return this.#fill(message, "message", offset, capacity, (at, count) => this.#host.readMsg(id, at, count));
	}

	/** The handle of a connection that the application handed over. */
	async getConn(id: Id, address: string): Promise<number> {
		this.#throwIfEnded();
		checkId(id);
		checkAddress(address);
		this.#outbox.flush();
		this.#lastConnection += 1;
		const conn = this.#lastConnection;
		unwrap(await this.#host.getConn(id, address, conn, this.#timeout));
		this.#connections.set(conn, true);
		return conn;
	}

	deadline(millis: number): void {
		this.#throwIfEnded();
		this.#timeoutMs = checkU32(millis);
	}

	exit(status: number): never {
		this.#ended ??= new ScriptEnd(checkU32(status));
		throw this.#ended;
	}

	/** How the script ended itself, if it did. */
	get ended(): ScriptEnd | undefined {
		return this.#ended;
	}

	flush(): void {
		this.#outbox.flush();
	}

	/** See {@link Outbox.settle}. */
	settle(): Promise<ScriptOp[]> {
		return this.#outbox.settle();
	}

	#send(conn: number, rpc: Id, request: Uint8Array, to: { to?: ReplyPlace }): void {
		this.#checkOwned(conn);
		const bytes = checkBytes(request);
		const mark = requestMark(conn, bytes, to.to);
		const before = this.#requests.get(checkId(rpc));
		if (before !== undefined && before !== mark)
			throw new ScriptFailure("rpcDuplicate", `RPC ${rpc} was sent with another request`);
		const timeout = this.#timeoutMs === 0 ? {} : { timeoutMs: this.#timeoutMs };
		this.#push({ op: "sendRpc", conn, rpc, request: bytes, ...timeout, ...to });
		this.#requests.set(rpc, mark);
	}

	get #timeout(): number | undefined {
		return this.#timeoutMs === 0 ? undefined : this.#timeoutMs;
	}

	/** Bytes from `offset` on: those that are here, or what `read` gives, piece by piece. */
	async #fill(
		from: ScriptMessage,
		what: string,
		offset: number,
		capacity: number,
		read: (offset: number, length: number) => Promise<Outcome<Uint8Array>>,
	): Promise<Filled> {
		if (checkU32(offset) > from.length) {
			throw new ScriptFailure(
				"invalidArgument",
				`offset ${offset} lies behind the ${what}'s ${from.length} bytes`,
			);
		}
		const length = Math.min(from.length - offset, 0x7fffffff);
		const wanted = Math.min(length, capacity);
		if (from.body !== undefined) return { bytes: from.body.subarray(offset, offset + wanted), length };
		const bytes = new Uint8Array(wanted);
		let filled = 0;
		while (filled < wanted) {
			const count = Math.min(wanted - filled, limits.readBytes);
			const piece = unwrap(await read(offset + filled, count));
			if (piece.byteLength === 0 || piece.byteLength > count) {
				throw new ScriptFailure(
					"internal",
					`the host gave ${piece.byteLength} bytes of a ${what}, not ${count}`,
				);
			}
			bytes.set(piece, filled);
			filled += piece.byteLength;
		}
		return { bytes, length };
	}

	async #reply(rpc: Id): Promise<ScriptReply> {
		this.#throwIfEnded();
		const known = this.#replies.get(checkId(rpc));
		if (known !== undefined) return known;
		this.#outbox.flush();
		const reply = unwrap(await this.#host.recvRpcReply(rpc, this.#timeout));
		this.#replies.set(rpc, { status: reply.status, ...this.#kept(reply) });
		return reply;
	}

	/** Its body stays here when it is whole and there is room for it. */
	#kept({ length, body }: ScriptMessage): ScriptMessage {
		const size = body?.byteLength ?? 0;
		if (body === undefined || size !== length || this.#cachedBytes + size > limits.cachedBytes)
			return { length };
		this.#cachedBytes += size;
		return { length, body };
	}

	#push(op: ScriptOp): void {
		this.#throwIfEnded();
		this.#outbox.push(op);
		this.#onCall?.();
	}

	#throwIfEnded(): void {
		if (this.#ended !== undefined) throw this.#ended;
	}

	#checkConn(conn: number): void {
		if (!this.#connections.has(conn)) {
			throw new ScriptFailure("invalidArgument", `${String(conn)} is not a connection of this initscript`);
		}
	}

	/** Refuses a connection that was handed over, too. */
	#checkOwned(conn: number): void {
		this.#checkConn(conn);
		if (this.#connections.get(conn) !== true) {
			throw new ScriptFailure("invalidArgument", `connection ${conn} was handed over`);
		}
	}
}

function unwrap<T>(outcome: Outcome<T>): T {
	if ("error" in outcome) throw ScriptFailure.from(outcome.error);
	return outcome.ok;
}
