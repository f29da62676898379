import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

/** The address of a node's services, which its bridge and, where they may, its applications reach. */
const HOST = "10.213.255.1";
const apps = join(import.meta.dirname, "../../apps");

/** Path of a server's program, as set-up built it. */
export function programOf(app: "cached" | "vecdb"): string {
	return join(apps, app, "service/bin", app);
}

/** Makes a server's shards, in their own sizes, in a new folder; gives that. */
export async function makeShards(app: "cached" | "vecdb", shards = 4): Promise<string> {
	const folder = await mkdtemp(join(tmpdir(), "hst-shards-"));
	await promisify(execFile)(programOf(app), ["make-shards", folder, "--shards", `${shards}`]);
	return folder;
}

/** A `cached` that runs on the machine, outside of any node. */
export class Peer {
	readonly #child: ChildProcess;
	readonly #port: number;

	private constructor(child: ChildProcess, port: number) {
		this.#child = child;
		this.#port = port;
	}

	/** One that has these shards, by their files. */
	static async start(shards: readonly string[]): Promise<Peer> {
		const args = ["serve", "--listen", "0.0.0.0:0", ...shards.flatMap((path) => ["--shard", path])];
		const child = spawn("setpriv", ["--pdeathsig", "KILL", "--", programOf("cached"), ...args], {
			stdio: ["ignore", "pipe", "inherit"],
			detached: true,
		});
		for await (const line of createInterface(child.stdout)) {
			const port = /^ready: cached on .*:(\d+)$/.exec(line)?.[1];
			if (port !== undefined) return new Peer(child, Number(port));
		}
		throw new Error("the peer ended");
	}

	/** "http://host:port", or "memcached://host:port". */
	address(scheme: "http" | "memcached"): string {
		return `${scheme}://${HOST}:${this.#port}`;
	}

	/** Stores a file under a key, as a client of memcached does. */
	async set(key: string, path: string): Promise<void> {
		const value = await readFile(path);
		const socket = connect(this.#port, "127.0.0.1");
		try {
			socket.write(Buffer.concat([Buffer.from(`ms ${key} ${value.length}\r\n`), value, Buffer.from("\r\n")]));
			const [said] = (await once(socket, "data")) as [Buffer];
			if (said.toString() !== "HD\r\n") throw new Error(`cached said ${said}`);
		} finally {
			socket.destroy();
		}
	}

	async stop(): Promise<void> {
		const ended = once(this.#child, "exit");
		this.#child.kill("SIGTERM");
		await ended;
	}
}

/** The service that assigns shards: each path of it has a list. */
export class Coordinator {
	readonly #server: Server;
	readonly #lists = new Map<string, string[]>();
	/** How often it was asked. */
	asked = 0;

	private constructor() {
		this.#server = createServer((request, response) => {
			const shards = this.#lists.get(request.url ?? "");
			this.asked++;
			response.writeHead(shards === undefined ? 404 : 200, { "content-type": "application/json" });
			response.end(JSON.stringify(shards === undefined ? { error: "not assigned" } : { shards }));
		});
	}

	static async start(): Promise<Coordinator> {
		const coordinator = new Coordinator();
		coordinator.#server.listen(0, "0.0.0.0");
		await once(coordinator.#server, "listening");
		return coordinator;
	}

	get address(): string {
		return `http://${HOST}:${(this.#server.address() as AddressInfo).port}`;
	}

	/** Assigns shards by their addresses; gives where that is told. */
	assign(path: string, shards: string[]): string {
		this.#lists.set(path, shards);
		return this.address + path;
	}

	async stop(): Promise<void> {
		this.#server.closeAllConnections();
		await new Promise((resolve) => this.#server.close(resolve));
	}
}

/** Removes what {@link makeShards} made. */
export function removeShards(folder: string): Promise<void> {
	return rm(folder, { recursive: true, force: true });
}
