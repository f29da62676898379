import { Socket } from "node:net";
import { HeadstartError } from "./error.ts";
import { type Id, numberOf } from "./id.ts";
import { native } from "./native.ts";
import { Pool } from "./pool.ts";
import { Reply } from "./reply.ts";

export interface Wait {
	/** Milliseconds, 30,000 unless told otherwise. */
	timeout?: number;
	/** Gives the reply while its bytes still come. */
	progressive?: boolean;
}

/** A connection that the initscript handed over. */
export interface Conn {
	/** A connected stream socket, the caller's to close. `socket()` makes Node's of it. */
	readonly fd: number;
	/** Names it in `connStatus` and `transferConn`. */
	readonly number: bigint;
	/** The TCP socket itself; a socketpair that the bridge splices; one with the bridge doing TLS. */
	readonly kind: "tcp" | "spliced" | "tls";
	/** "ip:port" */
	readonly peer: string;
	socket(): Socket;
}

export interface ConnStatus {
	readonly state: "open" | "ended" | "broken";
	/** What broke it: an error's code. */
	readonly error: string | undefined;
	/** Bytes from the server, and to it. */
	readonly received: number;
	readonly sent: number;
}

/** An invocation, to be answered. */
export interface Invocation {
	readonly id: bigint;
	readonly event: Reply;
}

/** The application's side of its instance. All calls may run at once. Throws {@link HeadstartError}. */
export class Client {
	readonly #pool: Pool;

	/** `path`: the socket; HEADSTART_SOCKET or the usual one unless told. Nothing connects before the first call. */
	constructor(path?: string) {
		this.#pool = new Pool(path);
	}

	/** Connects now instead of at the first call. The instance's id. */
	async connect(): Promise<string> {
		return (await this.#pool.call(native.HELLO, {})).given.instance;
	}

	/** Receives a message. `content` says what is expected ("GET s3://bucket/key"). */
	async recvMsg(id: Id, { content = "", ...wait }: Wait & { content?: string } = {}): Promise<Reply> {
		return this.#reply(native.RECV_MSG, { id: numberOf(id), text: content }, wait);
	}

	/** Has the bridge do a call, "GET s3://bucket/key", with its signature. */
	async call(
		request: string,
		{
			headers = {},
			body,
			...wait
		}: Wait & { headers?: Record<string, string>; body?: Uint8Array | string } = {},
	): Promise<Reply> {
		const lines = [request, ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`)];
		if (lines.some((line) => /[\r\n]/.test(line))) throw new TypeError("a line break in the head of a call");
		const data = typeof body === "string" ? new TextEncoder().encode(body) : body;
		return this.#reply(native.CALL, { text: `${lines.join("\n")}\n\n`, ...(data && { data }) }, wait);
	}

	/** Stamps a name on the timeline. */
	async mark(name: string): Promise<void> {
		await this.#pool.call(native.MARK, { text: name });
	}

	/** Sends a message to the initscript's RecvMsg: at most 1 MiB. */
	async sendMsg(id: Id, data: Uint8Array | string): Promise<void> {
		const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
		await this.#pool.call(native.SEND_MSG, { id: numberOf(id), data: bytes });
	}

	/** Takes the connection to `address` ("tcp://host:port") that was handed over as `id`. */
	async getConn(id: Id, address: string, { timeout = 0 }: { timeout?: number } = {}): Promise<Conn> {
		const fields = { id: numberOf(id), text: address, timeout };
		const { fd, number, kind, peer } = (await this.#pool.call(native.GET_CONN, fields)).given;
		const kinds = { 1: "tcp", 2: "spliced", 3: "tls" } as const;
		return {
			fd,
			number,
			kind: kinds[kind === 1 || kind === 3 ? kind : 2],
			peer,
			socket: () => new Socket({ fd, readable: true, writable: true, allowHalfOpen: true }),
		};
	}

	/**
	 * Hands a connection to the initscript: a TCP socket's fd (not in gVisor), which is closed then; or the number of a spliced
	 * one from `getConn`, whose fd is not used any more, and closed afterwards.
	 */
	async transferConn(id: Id, address: string, conn: { fd: number } | { number: bigint }): Promise<void> {
		const which = "fd" in conn ? { fd: conn.fd } : { fd: -1, number: conn.number };
		await this.#pool.call(native.TRANSFER_CONN, { id: numberOf(id), text: address, ...which });
	}

	async connStatus(number: bigint): Promise<ConnStatus> {
		const { state, error, received, sent } = (await this.#pool.call(native.CONN_STATUS, { number })).given;
		const states = ["open", "ended", "broken"] as const;
		return {
			state: states[state] ?? "broken",
			error: error === "ok" ? undefined : error,
			received,
			sent,
		};
	}

	/** Waits for the next invocation; undefined when no more will come. */
	async next(): Promise<Invocation | undefined> {
		for (;;) {
			try {
				const answered = await this.#pool.call(native.NEXT, { timeout: 60_000 });
				return { id: answered.given.id, event: new Reply(this.#pool, answered) };
			} catch (error) {
				if (!(error instanceof HeadstartError)) throw error;
				if (error.code === "instanceClosed") return undefined;
				if (error.code !== "deadline") throw error;
			}
		}
	}

	/** Begins an answer; `write` its pieces and `end` it. */
	async begin(id: bigint, status: number, headers: readonly (readonly [string, string])[]): Promise<void> {
		await this.#respond(id, native.BEGIN, { text: JSON.stringify({ status, headers }) });
	}

	async write(id: bigint, data: Uint8Array): Promise<void> {
		await this.#respond(id, 0, { data });
	}

	async end(id: bigint): Promise<void> {
		await this.#respond(id, native.END, {});
	}

	/** Tells the caller what failed. */
	async fail(id: bigint, what: string): Promise<void> {
		await this.#respond(id, native.ERROR, { text: what.replaceAll("\0", "") });
	}

	async #respond(id: bigint, flags: number, more: { text?: string; data?: Uint8Array }): Promise<void> {
		await this.#pool.call(native.RESPOND, { id, flags, ...more });
	}

	async #reply(
		op: number,
		fields: { id?: bigint; text: string; data?: Uint8Array },
		{ timeout = 0, progressive = false }: Wait,
	): Promise<Reply> {
		const flags = progressive ? native.PROGRESSIVE : 0;
		return new Reply(this.#pool, await this.#pool.call(op, { ...fields, flags, timeout }), timeout);
	}
}
