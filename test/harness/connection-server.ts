import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { until } from "../../src/cli/node/wait.ts";

const SERVER = join(import.meta.dirname, "../functions/connections/server.py");
const run = promisify(execFile);
/** The address of a node's services. */
const HOST = "10.213.255.1";

/** Files of a certificate for the services' address, which is its own authority. */
export interface Certificate {
	certificate: string;
	key: string;
}

/** Makes a certificate in a folder. */
export async function makeCertificate(folder: string): Promise<Certificate> {
	const [certificate, key] = [join(folder, "certificate.pem"), join(folder, "key.pem")];
	const name = ["-subj", "/CN=test", "-addext", `subjectAltName=IP:${HOST}`];
	const kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
	// A certificate of a service, though it is its own authority.
	const use = ["-addext", "basicConstraints=critical,CA:FALSE"];
	await run("openssl", ["req", ...kind, ...name, ...use, "-keyout", key, "-out", certificate]);
	return { certificate, key };
}

/** test/functions/connections/server.py as a process of its own, which can be killed. */
export class ConnectionServer {
	readonly #process: ChildProcess;
	#port = 0;
	/** How each connection that is over ended: "end" or "reset". */
	readonly ends: string[] = [];

	readonly #scheme: "tcp" | "tcps";

	private constructor(certificate: Certificate | undefined) {
		const files = certificate === undefined ? [] : [certificate.certificate, certificate.key];
		this.#scheme = certificate === undefined ? "tcp" : "tcps";
		const command = ["--pdeathsig", "KILL", "--", "/usr/bin/python3", SERVER, ...files];
		this.#process = spawn("setpriv", command, { stdio: ["ignore", "pipe", "inherit"] });
		if (!this.#process.stdout) throw new Error("the server has no output");
		createInterface(this.#process.stdout).on("line", (line) => {
			if (this.#port === 0) this.#port = Number(line);
			else this.ends.push(line);
		});
	}

	/** With a certificate it speaks TLS. */
	static async start(certificate?: Certificate): Promise<ConnectionServer> {
		const server = new ConnectionServer(certificate);
		await until("the server's port", 5_000, async () => server.#port || undefined);
		return server;
	}

	/** "tcp://host:port", or "tcps://…" */
	get address(): string {
		return `${this.#scheme}://${HOST}:${this.#port}`;
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
