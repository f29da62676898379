/** Starts a real runner and a host worker beside it, joined by a unix socket, and drives them from a test in Node. */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { Agent, type IncomingMessage, request } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";
import { buildRunner } from "../build.ts";
import type { Outcome } from "../protocol.ts";
import { meter } from "../wasm/meter/index.ts";
import { ModuleError } from "../wasm/reader.ts";
import type { LoadRequest, RecordedRun, RunRequest } from "./fixture/messages.ts";

export type Script = { wasm: Uint8Array } | { source: string };

function loadRequest(script: Script): LoadRequest {
	const bytes = "wasm" in script ? script.wasm : new TextEncoder().encode(script.source);
	const digest = createHash("sha256").update(bytes).digest("hex");
	return "wasm" in script
		? { digest, wasm: Buffer.from(script.wasm).toString("base64") }
		: { digest, source: script.source };
}

export class Rig {
	readonly #dir: string;
	readonly #processes: ChildProcess[];

	private constructor(dir: string, processes: ChildProcess[]) {
		this.#dir = dir;
		this.#processes = processes;
	}

	static async start(): Promise<Rig> {
		const dir = await mkdtemp(join(tmpdir(), "hs-rig-"));
		await Promise.all([buildRunner(join(dir, "runner")), buildHost(dir)]);
		const runner = serve(dir, join(dir, "runner/config.capnp"), join(dir, "runner.sock"));
		const host = serve(dir, join(dir, "host.capnp"), join(dir, "host.sock"));
		const rig = new Rig(dir, [runner, host]);
		await Promise.all([waitFor(join(dir, "runner.sock")), waitFor(join(dir, "host.sock"))]);
		return rig;
	}

	get runnerSocket(): string {
		return join(this.#dir, "runner.sock");
	}

	/** The runner's process id. */
	get runnerPid(): number {
		return this.#processes[0]?.pid ?? 0;
	}

	/** Loads a script, a module metered as a deploy does it, and gives its digest. */
	async load(script: Script): Promise<Outcome<{ digest: string }>> {
		if (!("wasm" in script)) return this.loadAsIs(script);
		try {
			return await this.loadAsIs({ wasm: meter(script.wasm) });
		} catch (thrown) {
			if (!(thrown instanceof ModuleError)) throw thrown;
			return { error: { code: "invalidArgument", message: thrown.message } };
		}
	}

	async loadAsIs(script: Script): Promise<Outcome<{ digest: string }>> {
		const body = loadRequest(script);
		const outcome = (await this.#post("/load", JSON.stringify(body))) as Outcome<unknown>;
		return "error" in outcome ? outcome : { ok: { digest: body.digest } };
	}

	/** Loads a script that must load, and runs it. */
	async run(script: Script, options: Omit<RunRequest, "digest"> = {}): Promise<RecordedRun> {
		const loaded = await this.load(script);
		if ("error" in loaded) throw new Error(loaded.error.message);
		return this.runDigest(loaded.ok.digest, options);
	}

	/** Runs a script that is handed over meanwhile, as the bridge does it; a module as it was built. */
	async runPulled(
		script: Script,
		options: Omit<RunRequest, "digest" | "awaited"> = {},
	): Promise<RecordedRun> {
		const { digest } = loadRequest(script);
		const run = this.runDigest(digest, { ...options, awaited: true });
		if ((await this.handOver(script)) !== 204) await this.unload(digest);
		return run;
	}

	/** Gives the runner a script as the bridge does it; gives the answer's status. */
	async handOver(script: Script): Promise<number> {
		const { digest } = loadRequest(script);
		const [kind, body] = "wasm" in script ? ["plain", script.wasm] : ["js", script.source];
		const call = request({
			socketPath: this.runnerSocket,
			path: `/scripts/${kind}/${digest}`,
			method: "PUT",
		});
		call.end(body);
		const [answer] = (await once(call, "response")) as [IncomingMessage];
		answer.resume();
		return answer.statusCode ?? 0;
	}

	async runDigest(digest: string, options: Omit<RunRequest, "digest"> = {}): Promise<RecordedRun> {
		return (await this.#post("/run", JSON.stringify({ ...options, digest }))) as RecordedRun;
	}

	async unload(digest: string): Promise<void> {
		await this.#post("/unload", digest);
	}

	/** Milliseconds from asking the host to run a script until the script's first call is there; "" for no script. */
	async latency(digest: string, options: Omit<RunRequest, "digest"> = {}): Promise<number> {
		const began = performance.now();
		await this.#post("/latency", JSON.stringify({ ...options, digest }));
		return performance.now() - began;
	}

	async stop(): Promise<void> {
		agent.destroy();
		await Promise.all(
			this.#processes.map(async (process) => {
				if (process.exitCode !== null || process.signalCode !== null) return;
				const exited = once(process, "exit");
				process.kill("SIGKILL");
				await exited;
			}),
		);
		await rm(this.#dir, { recursive: true, force: true });
	}

	#post(path: string, body: string): Promise<unknown> {
		return post(join(this.#dir, "host.sock"), path, body);
	}
}

const agent = new Agent({ keepAlive: true, maxSockets: 8 });

/** An HTTP request over a unix socket; the answer as JSON. */
function post(socketPath: string, path: string, body: string): Promise<unknown> {
	return new Promise((resolve, reject) => {
		const call = request(
			{ agent, socketPath, path, method: "POST", headers: { host: "test" } },
			(response) => {
				const chunks: Buffer[] = [];
				response.on("data", (chunk: Buffer) => chunks.push(chunk));
				response.on("error", reject);
				response.on("end", () => {
					const text = Buffer.concat(chunks).toString();
					try {
						resolve(JSON.parse(text));
					} catch {
						reject(new Error(`${response.statusCode}: ${text}`));
					}
				});
			},
		);
		call.on("error", reject);
		call.end(body);
	});
}

/** The binary, whose path the package gives as its CommonJS default. */
const workerd: string = createRequire(import.meta.url)("workerd").default;

function serve(cwd: string, config: string, socket: string): ChildProcess {
	const args = ["serve", "--experimental", config, `--socket-addr=http=unix:${socket}`];
	return spawn(workerd, args, { cwd, stdio: ["ignore", "inherit", "inherit"] });
}

async function waitFor(path: string): Promise<void> {
	for (let tries = 0; tries < 500; tries += 1) {
		if (existsSync(path)) return;
		await new Promise((resolve) => setTimeout(resolve, 10));
	}
	throw new Error(`${path} did not appear`);
}

async function buildHost(dir: string): Promise<void> {
	await build({
		entryPoints: [join(import.meta.dirname, "fixture/host.ts")],
		bundle: true,
		outfile: join(dir, "host.js"),
		format: "esm",
		target: "es2024",
		platform: "neutral",
		external: ["cloudflare:*"],
	});
	await writeFile(join(dir, "host.capnp"), hostConfig(join(dir, "runner.sock")));
}

const hostConfig = (runner: string): string => `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "host", worker = .host),
    (name = "runner", external = (address = "unix:${runner}", http = (capnpConnectHost = "runner"))),
  ],
  sockets = [(name = "http", address = "unix:host.sock", service = "host", http = ())],
);
const host :Workerd.Worker = (
  modules = [(name = "host.js", esModule = embed "host.js")],
  compatibilityDate = "2026-11-01",
  bindings = [(name = "RUNNER", service = "runner")],
);
`;
