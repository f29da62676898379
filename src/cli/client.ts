import { CliError, systemCode } from "./errors.ts";

/** Where a node answers unless told otherwise. */
export const DEFAULT_NODE = process.env.HEADSTART_NODE ?? "http://127.0.0.1:8787";

/** The HTTP API of a node, with its failures as errors for people. */
export class NodeClient {
	readonly url: string;

	constructor(url: string = DEFAULT_NODE) {
		this.url = url.replace(/\/+$/, "");
	}

	/** Sends a request. An answer with status ≥ 400 is returned like any other. Throws {@link CliError} when there is no node. */
	async send(path: string, init: RequestInit & { duplex?: "half" } = {}): Promise<Response> {
		try {
			return await fetch(this.url + path, init);
		} catch (error) {
			const cause = error instanceof Error ? error.cause : undefined;
			switch (systemCode(cause)) {
				case "ECONNREFUSED":
					throw new CliError(
						`no node answers at ${this.url}`,
						"start one with `headstart node` or `headstart dev`",
					);
				case "UND_ERR_SOCKET":
				case "ECONNRESET":
					throw new CliError(
						`the node at ${this.url} closed the connection`,
						"see its output, then try again",
					);
				default:
					throw cause instanceof Error ? new CliError(`${this.url}: ${cause.message}`) : error;
			}
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
