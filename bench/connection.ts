import { createConnection, type Socket } from "node:net";

/** An answer of the node, whole. Header names are in lower case. */
export interface Answer {
	status: number;
	headers: ReadonlyMap<string, string>;
	body: string;
}

/** What is in a request's head before the moment of sending is known: as many digits. */
const UNSTAMPED = "0".repeat(19);

/**
 * One kept HTTP/1.1 connection to the node, for one request at a time. It writes a request in one piece that is ready but for
 * the stamp `x-headstart-sent`, which is put in last: what a client's own library does before a request leaves is no part of a
 * start.
 */
export class Connection {
	readonly #host: string;
	readonly #port: number;
	readonly #timeout: number;
	#socket: Socket | undefined;

	/** `timeout`: ms without a byte after which a request fails. */
	constructor(url: string, timeout: number) {
		const { hostname, port } = new URL(url);
		this.#host = hostname;
		this.#port = Number(port);
		this.#timeout = timeout;
	}

	/** Sends a request; one with a body is stamped. */
	async send(method: string, path: string, body?: string): Promise<Answer> {
		const socket = await this.#connected();
		const head = [`${method} ${path} HTTP/1.1`, `host: ${this.#host}:${this.#port}`];
		if (body !== undefined) {
			head.push("content-type: application/json", `content-length: ${Buffer.byteLength(body)}`);
			head.push(`x-headstart-sent: ${UNSTAMPED}`);
		}
		const request = Buffer.from(`${head.join("\r\n")}\r\n\r\n${body ?? ""}`);
		const stamp = body === undefined ? undefined : request.indexOf(UNSTAMPED);
		return new Promise<Answer>((resolve, reject) => {
			let received = Buffer.alloc(0);
			const end = (): void => {
				socket.removeAllListeners();
				socket.setTimeout(0);
			};
			const fail = (error: Error): void => {
				end();
				this.close();
				reject(error);
			};
			socket.on("data", (piece: Buffer) => {
				received = Buffer.concat([received, piece]);
				try {
					const answer = parseAnswer(received);
					if (answer === undefined) return;
					end();
					resolve(answer);
				} catch (error) {
					fail(error instanceof Error ? error : new Error(String(error)));
				}
			});
			socket.on("error", fail);
			socket.on("close", () => fail(new Error(`the node closed the connection at ${method} ${path}`)));
			socket.setTimeout(this.#timeout);
			socket.on("timeout", () =>
				fail(new Error(`no answer to ${method} ${path} within ${this.#timeout / 1000} s`)),
			);
			if (stamp !== undefined) request.write(String(process.hrtime.bigint()).padStart(19, "0"), stamp);
			socket.write(request);
		});
	}

	close(): void {
		this.#socket?.destroy();
		this.#socket = undefined;
	}

	#connected(): Promise<Socket> {
		const kept = this.#socket;
		if (kept !== undefined && !kept.destroyed && !kept.readableEnded) return Promise.resolve(kept);
		return new Promise((resolve, reject) => {
			const socket = createConnection({ host: this.#host, port: this.#port, noDelay: true });
			socket.once("error", reject);
			socket.once("connect", () => {
				socket.off("error", reject);
				this.#socket = socket;
				resolve(socket);
			});
		});
	}
}

/** Reads an answer that may not be complete yet (undefined). Throws for one that is not HTTP/1.1. */
export function parseAnswer(received: Buffer): Answer | undefined {
	const headEnd = received.indexOf("\r\n\r\n");
	if (headEnd < 0) return undefined;
	const [start = "", ...lines] = received.toString("latin1", 0, headEnd).split("\r\n");
	const [, status] = /^HTTP\/1\.1 (\d{3})/.exec(start) ?? [];
	if (status === undefined) throw new Error(`no answer of HTTP/1.1: ${start.slice(0, 80)}`);
	const headers = new Map(
		lines.map((line): [string, string] => {
			const colon = line.indexOf(":");
			return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
		}),
	);
	const rest = received.subarray(headEnd + 4);
	const body = headers.get("transfer-encoding") === "chunked" ? chunked(rest) : sized(rest, headers);
	return body && { status: Number(status), headers, body: body.toString() };
}

function sized(rest: Buffer, headers: ReadonlyMap<string, string>): Buffer | undefined {
	const length = Number(headers.get("content-length") ?? 0);
	return rest.length < length ? undefined : rest.subarray(0, length);
}

function chunked(rest: Buffer): Buffer | undefined {
	const chunks: Buffer[] = [];
	for (let at = 0; ; ) {
		const line = rest.indexOf("\r\n", at);
		if (line < 0) return undefined;
		const size = Number.parseInt(rest.toString("latin1", at, line), 16);
		if (Number.isNaN(size)) throw new Error("an answer's chunk has no size");
		const begin = line + 2;
		if (rest.length < begin + size + 2) return undefined;
		if (size === 0) return Buffer.concat(chunks);
		chunks.push(rest.subarray(begin, begin + size));
		at = begin + size + 2;
	}
}
