import { once } from "node:events";
import { createServer as createHttp, type ServerResponse } from "node:http";
import { type AddressInfo, createServer as createTcp, type Socket } from "node:net";

/**
 * What an invocation of proof/functions/steps speaks to: an HTTP server that holds `GET /hold/<step>` until it is told to let go, and a
 * TCP server that sends each line back.
 */
export class Gate {
	/** "http://127.0.0.1:port" */
	readonly url: string;
	/** "tcp://127.0.0.1:port?frame=line" */
	readonly echo: string;
	readonly #close: () => void;
	readonly #held = new Set<ServerResponse>();
	#open = false;
	#reached: (step: string) => void = () => {};

	private constructor(http: number, tcp: number, close: () => void) {
		this.url = `http://127.0.0.1:${http}`;
		this.echo = `tcp://127.0.0.1:${tcp}?frame=line`;
		this.#close = close;
	}

	static async start(): Promise<Gate> {
		const http = createHttp((request, response) => gate.#asked(request.url ?? "", response));
		const sockets = new Set<Socket>();
		const tcp = createTcp((socket) => {
			sockets.add(socket);
			socket.on("error", () => socket.destroy());
			socket.on("close", () => sockets.delete(socket));
			socket.pipe(socket);
		});
		for (const server of [http, tcp]) {
			server.listen(0, "127.0.0.1");
			await once(server, "listening");
		}
		const port = (server: typeof http | typeof tcp): number => (server.address() as AddressInfo).port;
		const gate = new Gate(port(http), port(tcp), () => {
			http.closeAllConnections();
			http.close();
			for (const socket of sockets) socket.destroy();
			tcp.close();
		});
		return gate;
	}

	/** Closes the gate. The promise is for the first step that comes to it. */
	hold(): Promise<string> {
		this.#open = false;
		return new Promise((resolve) => {
			this.#reached = resolve;
		});
	}

	/** Lets everybody through, now and until the next {@link hold}. */
	letGo(): void {
		this.#open = true;
		for (const response of this.#held) response.end("go on");
		this.#held.clear();
	}

	close(): void {
		this.letGo();
		this.#close();
	}

	#asked(path: string, response: ServerResponse): void {
		if (path === "/echo") {
			response.end("ping");
			return;
		}
		const step = /^\/hold\/(.+)$/.exec(path)?.[1];
		if (step === undefined) {
			response.writeHead(404).end();
			return;
		}
		if (this.#open) {
			response.end("go on");
			return;
		}
		this.#held.add(response);
		response.on("close", () => this.#held.delete(response));
		this.#reached(decodeURIComponent(step));
	}
}
