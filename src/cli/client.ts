import * as http from "node:http";
import * as https from "node:https";
import { Readable } from "node:stream";
import { TLSSocket } from "node:tls";
import { type Credentials, credentialHeaders, credentialsOf } from "./credentials.ts";
import { CliError, systemCode } from "./errors.ts";

/** Where a node answers unless told otherwise. */
export const DEFAULT_NODE = process.env.HEADSTART_NODE ?? "http://127.0.0.1:8787";

/** A request that may take as long as it will. */
export interface LongRequest {
	method?: string;
	headers?: Record<string, string>;
	body?: Uint8Array;
	/** Gives the request up: its connection is reset, which the node takes for a cancellation. */
	signal?: AbortSignal;
}

/** The HTTP API of a node, with its failures as errors for people. */
export class NodeClient {
	readonly url: string;
	/** That say who asks. */
	readonly #headers: Record<string, string>;

	/** Without `credentials`: those of the environment, or else those that were kept for this address. */
	constructor(url: string = DEFAULT_NODE, credentials: Credentials = credentialsOf(url)) {
		this.url = url.replace(/\/+$/, "");
		this.#headers = credentialHeaders(credentials);
	}

	/** Sends a request. An answer with status ≥ 400 is returned like any other. Throws {@link CliError} when there is no node. */
	async send(path: string, init: RequestInit & { duplex?: "half" } = {}): Promise<Response> {
		try {
			const headers = new Headers(init.headers);
			for (const [name, value] of Object.entries(this.#headers)) headers.set(name, value);
			return await fetch(this.url + path, { ...init, headers });
		} catch (error) {
			throw this.#inWords(error instanceof Error ? error.cause : undefined) ?? error;
		}
	}

	/**
	 * Sends a request as {@link send} does, but waits for the answer and its parts without a limit (`fetch` gives up after five
	 * minutes), on a connection of its own.
	 */
	async open(path: string, { method, headers, body, signal }: LongRequest = {}): Promise<Response> {
		try {
			const { request } = this.url.startsWith("https:") ? https : http;
			const asked = request(this.url + path, {
				method,
				headers: { ...headers, ...this.#headers },
				agent: false,
			});
			signal?.addEventListener("abort", () => giveUp(asked, signal.reason));
			asked.end(body);
			return toResponse(await answerOf(asked));
		} catch (error) {
			if (signal?.aborted) throw error;
			throw this.#inWords(error) ?? error;
		}
	}

	/** Sends a request and returns the answer when its status is below 400; else throws what the node says. */
	async ask(path: string, init: RequestInit & { duplex?: "half" } = {}): Promise<Response> {
		const response = await this.send(path, init);
		if (response.status < 400) return response;
		throw await failure(response);
	}

	async json<T>(path: string, init: RequestInit = {}): Promise<T> {
		const response = await this.ask(path, init);
		return (await response.json()) as T;
	}

	/** What went wrong with the connection, for people. */
	#inWords(cause: unknown): CliError | undefined {
		switch (systemCode(cause)) {
			case "ECONNREFUSED":
				return new CliError(
					`no node answers at ${this.url}`,
					"start one with `headstart node` or `headstart dev`",
				);
			case "UND_ERR_SOCKET":
			case "ECONNRESET":
				return new CliError(
					`the node at ${this.url} closed the connection`,
					"see its output, then try again",
				);
			default:
				return cause instanceof Error ? new CliError(`${this.url}: ${cause.message}`) : undefined;
		}
	}
}

function answerOf(asked: http.ClientRequest): Promise<http.IncomingMessage> {
	return new Promise((resolve, reject) => {
		asked.once("response", resolve);
		asked.on("error", reject);
	});
}

/** Resets the connection. A FIN, as it is sent at the end of a process, could also mean that the request is complete. */
function giveUp(asked: http.ClientRequest, reason: unknown): void {
	if (!(asked.socket instanceof TLSSocket)) asked.socket?.resetAndDestroy();
	asked.destroy(reason instanceof Error ? reason : undefined);
}

function toResponse(message: http.IncomingMessage): Response {
	const headers = Object.entries(message.headersDistinct).flatMap(([name, values = []]) =>
		values.map((value): [string, string] => [name, value]),
	);
	const status = message.statusCode ?? 0;
	const hasBody = ![204, 205, 304].includes(status);
	if (!hasBody) message.resume();
	const body = hasBody ? (Readable.toWeb(message) as ReadableStream<Uint8Array>) : null;
	return new Response(body, { status, statusText: message.statusMessage ?? "", headers });
}

/** The error that an answer with status ≥ 400 carries: `{code, message, hint}`. */
export async function failure(response: Response): Promise<CliError> {
	const text = await response.text();
	try {
		const body: unknown = JSON.parse(text);
		if (typeof body === "object" && body !== null && "message" in body && "code" in body) {
			const hint = "hint" in body && typeof body.hint === "string" ? body.hint : undefined;
			return new CliError(`${body.message} (${body.code})`, hint);
		}
	} catch {
		// no JSON: said as it is
	}
	return new CliError(`${response.status} ${response.statusText}: ${text.slice(0, 300).trim()}`);
}
