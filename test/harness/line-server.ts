import { createServer, type Server, type Socket } from "node:net";
import { createInterface } from "node:readline";

/** The address of a node's services, which its bridge and, where they may, its applications reach. */
const HOST = "10.213.255.1";

/**
 * A TCP server that answers each line with how many there were on the connection, and the line. After "bye" it ends the
 * connection, at "die" it resets it.
 */
export class LineServer {
	readonly #server: Server;
	readonly #sockets = new Set<Socket>();
	/** Connections that were ever made. */
	connections = 0;

	constructor() {
		this.#server = createServer((socket) => this.#serve(socket));
	}

	async listen(): Promise<void> {
		await new Promise<void>((resolve) => this.#server.listen(0, "0.0.0.0", resolve));
	}

	/** "tcp://host:port" */
	get address(): string {
		const address = this.#server.address();
		if (address === null || typeof address === "string") throw new Error("the server does not listen");
		return `tcp://${HOST}:${address.port}`;
	}

	async close(): Promise<void> {
		for (const socket of this.#sockets) socket.destroy();
		await new Promise((resolve) => this.#server.close(resolve));
	}

	#serve(socket: Socket): void {
		let count = 0;
		this.connections++;
		this.#sockets.add(socket);
		socket.on("close", () => this.#sockets.delete(socket)).on("error", () => undefined);
		createInterface(socket).on("line", (line) => {
			if (line === "die") {
				socket.resetAndDestroy();
				return;
			}
			socket.write(`${++count} ${line}\n`);
			if (line === "bye") socket.end();
		});
	}
}
