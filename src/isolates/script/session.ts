/** One run of an initscript: its calls, of either format, on their way to its {@link HostApi}. */
import type { HostApi, Id, Outcome, ScriptOp, ScriptReply } from "../protocol.ts";
import { cut, ScriptEnd, ScriptFailure } from "./failure.ts";
import { limits } from "./limits.ts";
import { address as checkAddress, bytes as checkBytes, id as checkId, u32 as checkU32 } from "./ops.ts";
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
	#cachedBytes = 0;
	#connections = 0;
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
		const conn = this.#connections + 1;
		this.#push({ op: "connect", conn, address: checkAddress(address) });
		this.#connections = conn;
		return conn;
	}

	sendRpc(conn: number, rpc: Id, request: Uint8Array): void {
		this.#checkConn(conn);
		this.#push({ op: "sendRpc", conn, rpc: checkId(rpc), request: checkBytes(request) });
	}

	sendMsg(id: Id, data: Uint8Array): void {
		this.#push({ op: "sendMsg", id: checkId(id), data: checkBytes(data) });
	}

	sendReply(id: Id, rpc: Id): void {
		this.#push({ op: "sendReply", id: checkId(id), rpc: checkId(rpc) });
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
		const reply = await this.#reply(rpc);
		if (checkU32(offset) > reply.length) {
			throw new ScriptFailure(
				"invalidArgument",
				`offset ${offset} lies behind the reply's ${reply.length} bytes`,
			);
		}
		const length = Math.min(reply.length - offset, 0x7fffffff);
		const wanted = Math.min(length, capacity);
		if (reply.body !== undefined) return { bytes: reply.body.subarray(offset, offset + wanted), length };
		return { bytes: await this.#read(rpc, offset, wanted), length };
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

	async #read(rpc: Id, offset: number, wanted: number): Promise<Uint8Array> {
		const bytes = new Uint8Array(wanted);
		let filled = 0;
		while (filled < wanted) {
			const count = Math.min(wanted - filled, limits.readBytes);
			const piece = unwrap(await this.#host.readReply(rpc, offset + filled, count));
			if (piece.byteLength === 0 || piece.byteLength > count) {
				throw new ScriptFailure(
					"internal",
					`the host gave ${piece.byteLength} bytes of a reply, not ${count}`,
				);
			}
			bytes.set(piece, filled);
			filled += piece.byteLength;
		}
		return bytes;
	}

	async #reply(rpc: Id): Promise<ScriptReply> {
		this.#throwIfEnded();
		const known = this.#replies.get(checkId(rpc));
		if (known !== undefined) return known;
		this.#outbox.flush();
		const reply = unwrap(await this.#host.recvRpcReply(rpc));
		this.#remember(rpc, reply);
		return reply;
	}

	#remember(rpc: Id, { status, length, body }: ScriptReply): void {
		const size = body?.byteLength ?? 0;
		const kept = body !== undefined && this.#cachedBytes + size <= limits.cachedBytes && size === length;
		if (kept) this.#cachedBytes += size;
		this.#replies.set(rpc, kept ? { status, length, body } : { status, length });
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
		if (!Number.isInteger(conn) || conn < 1 || conn > this.#connections) {
			throw new ScriptFailure("invalidArgument", `${String(conn)} is not a connection of this initscript`);
		}
	}
}

function unwrap<T>(outcome: Outcome<T>): T {
	if ("error" in outcome) throw ScriptFailure.from(outcome.error);
	return outcome.ok;
}
