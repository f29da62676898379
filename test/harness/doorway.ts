import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { SERVICES } from "../../src/cli/node/dev-store.ts";

/** A TCP port that leads to another, counts who comes through it, and can be closed. */
export class Doorway {
	/** All connections since it was opened or {@link reset}. */
	connections = 0;
	/** Cuts off so many who come, at once. */
	cuts = 0;
	readonly #server: Server;
	readonly #open = new Set<Socket>();

	private constructor(to: string) {
		const { hostname, port } = new URL(to);
		this.#server = createServer((outside) => {
			this.connections++;
			if (this.cuts > 0) {
				this.cuts--;
				outside.destroy();
				return;
			}
			const inside = connect(Number(port), hostname);
			for (const [one, other] of [
				[outside, inside],
				[inside, outside],
			] as const) {
				this.#open.add(one);
				one.setNoDelay(true);
				one.on("error", () => other.destroy());
				one.on("close", () => this.#open.delete(one));
				one.pipe(other);
			}
		});
	}

	/** Opens one to a URL's host and port. */
	static async to(url: string): Promise<Doorway> {
		const doorway = new Doorway(url);
		doorway.#server.listen(0, SERVICES);
		await once(doorway.#server, "listening");
		return doorway;
	}

	/** "http://host:port" */
	get origin(): string {
		const address = this.#server.address();
		if (typeof address !== "object" || address === null) throw new Error("the doorway is closed");
		return `http://${SERVICES}:${address.port}`;
	}

	/** Whoever is in it is cut off; from now on it counts anew and cuts off nobody. */
	reset(): void {
		for (const socket of this.#open) socket.destroy();
		this.connections = 0;
		this.cuts = 0;
	}

	/** Whoever is in it is cut off, and nobody comes through any more. */
	async close(): Promise<void> {
		if (!this.#server.listening) return;
		const closed = once(this.#server, "close");
		this.#server.close();
		this.reset();
		await closed;
	}
}
