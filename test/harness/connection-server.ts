import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { until } from "../../src/cli/node/wait.ts";

const SERVER = join(import.meta.dirname, "../functions/connections/server.py");
/** The address of a node's services. */
const HOST = "10.213.255.1";

/** test/functions/connections/server.py as a process of its own, which can be killed. */
export class ConnectionServer {
	readonly #process: ChildProcess;
	#port = 0;
	/** How each connection that is over ended: "end" or "reset". */
	readonly ends: string[] = [];

	private constructor() {
		const command = ["--pdeathsig", "KILL", "--", "/usr/bin/python3", SERVER];
		this.#process = spawn("setpriv", command, { stdio: ["ignore", "pipe", "inherit"] });
		if (!this.#process.stdout) throw new Error("the server has no output");
		createInterface(this.#process.stdout).on("line", (line) => {
			if (this.#port === 0) this.#port = Number(line);
			else this.ends.push(line);
		});
	}

	static async start(): Promise<ConnectionServer> {
		const server = new ConnectionServer();
		await until("the server's port", 5_000, async () => server.#port || undefined);
		return server;
	}

	/** "tcp://host:port" */
	get address(): string {
		return `tcp://${HOST}:${this.#port}`;
	}

	get host(): [string, number] {
		return [HOST, this.#port];
	}

	/** How the next connection that ends does. */
	async nextEnd(): Promise<string> {
		return until("a connection's end", 10_000, async () => this.ends.shift());
	}

	async kill(): Promise<void> {
		if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
		const gone = once(this.#process, "exit");
		this.#process.kill("SIGKILL");
		await gone;
	}
}
