import { once } from "node:events";
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import type { Server as Registry } from "./servers.ts";

/** A way to a registry on which the second half of a download can be held back. */
export class HeldRegistry {
	readonly #server: Server;
	readonly #port: number;
	#held: { least: number; reached: () => void; letGo: Promise<void> } | undefined;
	#letGo: () => void = () => {};

	private constructor(port: number) {
		this.#port = port;
		this.#server = createServer((asked, answer) => this.#pass(asked, answer));
	}

	static async before({ port }: Registry): Promise<HeldRegistry> {
		const held = new HeldRegistry(port);
		held.#server.listen(0, "127.0.0.1");
		await once(held.#server, "listening");
		return held;
	}

	/** "127.0.0.1:port" */
	get host(): string {
		return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
	}

	/** Holds manifests and blobs of at least so many bytes back. Resolves when the first half of one has left. */
	hold(least = 0): Promise<void> {
		this.letGo();
		return new Promise((reached) => {
			const letGo = new Promise<void>((resolve) => {
				this.#letGo = resolve;
			});
			this.#held = { least, reached, letGo };
		});
	}

	/** What was held back goes on, and what comes from now on. */
	letGo(): void {
		this.#held = undefined;
		this.#letGo();
	}

	async stop(): Promise<void> {
		this.letGo();
		const closed = once(this.#server, "close");
		this.#server.close();
		this.#server.closeAllConnections();
		await closed;
	}

	#pass(asked: IncomingMessage, answer: ServerResponse): void {
		const { method, url: path, headers } = asked;
		const onwards = request({ host: "127.0.0.1", port: this.#port, method, path, headers }, (inner) => {
			answer.writeHead(inner.statusCode ?? 502, inner.headers);
			const bytes = Number(inner.headers["content-length"]);
			const held = this.#held;
			if (held && method === "GET" && /\/(blobs|manifests)\//.test(path ?? "") && bytes >= held.least)
				void half(inner, answer, held).catch(() => answer.destroy());
			else inner.pipe(answer);
		});
		onwards.on("error", () => answer.destroy());
		asked.pipe(onwards);
	}
}

async function half(
	from: IncomingMessage,
	to: ServerResponse,
	{ reached, letGo }: { reached: () => void; letGo: Promise<void> },
): Promise<void> {
	const bytes = await buffer(from);
	const middle = bytes.length >> 1;
	to.write(bytes.subarray(0, middle), reached);
	await letGo;
	to.end(bytes.subarray(middle));
}
