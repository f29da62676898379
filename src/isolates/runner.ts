/**
 * The runner: keeps deployed initscripts ready and runs them, each in its cell. It sees the host API that a run is given
 * and nothing else. The other half is the host's `src/host`; the relay between them is the bridge's.
 */
import { RpcTarget, WorkerEntrypoint } from "cloudflare:workers";
import { Arrivals } from "./arrivals.ts";
import { within } from "./deadline.ts";
import { JsCell } from "./js/cell.ts";
import { MAX_SOURCE } from "./js/limits.ts";
import type { Nursery, SpareRun } from "./js/nursery.ts";
import {
	type HostApi,
	type Outcome,
	type RunnerService,
	type RunnerSession,
	SCRIPT_PATH,
	type ScriptError,
	type ScriptExit,
	type ScriptLimits,
	type ScriptModule,
	type ScriptRunner,
} from "./protocol.ts";
import { deadlineEnd, limitEnd } from "./script/end.ts";
import { cleanExit } from "./script/exit.ts";
import { describe } from "./script/failure.ts";
import { HostPort } from "./script/port.ts";
import { Shelf } from "./shelf.ts";
import { runWasm } from "./wasm/cell.ts";
import { meter } from "./wasm/meter/index.ts";
import { ModuleError } from "./wasm/reader.ts";
import { StoredModule, type UnsafeEval } from "./wasm/store.ts";

export { Incubator } from "./js/incubator.ts";
export { Nursery } from "./js/nursery.ts";

interface Env {
	UNSAFE_EVAL: UnsafeEval;
	LOADER: WorkerLoader;
	NURSERY: DurableObjectNamespace<Nursery>;
}

/** A deployed script. */
type Script = { format: "wasm"; module: StoredModule } | { format: "js"; source: string };

interface RunSpec {
	digest: string;
	input: Uint8Array;
	limits: ScriptLimits;
	awaited?: boolean;
}

/** A run is over this long after its deadline, whatever happens. */
const SLACK_MS = 1_000;

/** A spare WASM cell is made so long after the last one was taken. */
const PREPARE_MS = 500;

const scripts = new Shelf<Script>({ items: 512, bytes: 128 << 20 });
const arrivals = new Arrivals<Script>();

export default class Runner extends WorkerEntrypoint<Env> implements RunnerService {
	/** The bridge's heartbeat, and the scripts that it hands over. */
	override fetch(request: Request): Response | Promise<Response> {
		const { pathname } = new URL(request.url);
		if (pathname === "/ping") return new Response("ok");
		const [, kind, digest] = (request.method === "PUT" && SCRIPT_PATH.exec(pathname)) || [];
		if (kind === undefined || digest === undefined) return new Response("not found\n", { status: 404 });
		return this.#receive(request, kind, digest);
	}

	async #receive(request: Request, kind: string, digest: string): Promise<Response> {
		try {
			if (kind === "js") this.#put({ digest, format: "js", source: await request.text() });
			else {
				const bytes = new Uint8Array(await request.arrayBuffer());
				this.#put({ digest, format: "wasm", bytes, ...(kind === "plain" && { plain: true }) });
			}
			return new Response(null, { status: 204 });
		} catch (thrown) {
			return new Response(describe(thrown).message, { status: 422 });
		}
	}

	async load(module: ScriptModule, memoryBytes?: number): Promise<Outcome<{ compileMs: number }>> {
		const began = performance.now();
		try {
			const script = scripts.get(module.digest) ?? (await this.#keep(module));
			if (script.format === "wasm" && memoryBytes !== undefined) {
				script.module.within(memoryBytes);
				script.module.prepare(memoryBytes);
			}
		} catch (thrown) {
			return refused(thrown);
		}
		return { ok: { compileMs: performance.now() - began } };
	}

	async unload(digest: string): Promise<void> {
		scripts.remove(digest);
		arrivals.settle(digest, undefined);
		await this.#nursery.drop(digest);
	}

	async open(): Promise<RunnerSession> {
		return new OpenSession(this);
	}

	async run({ digest, input, limits, awaited }: RunSpec, host: HostApi): Promise<Outcome<ScriptExit>> {
		const script =
			scripts.get(digest) ?? (awaited ? await arrivals.wait(digest, limits.deadlineMs) : undefined);
		if (script === undefined) return { error: { code: "unknownModule", message: `${digest} is not loaded` } };
		const port = new HostPort(host, Date.now() + limits.deadlineMs + SLACK_MS);
		try {
			const late = (): ScriptExit => deadlineEnd(limits.deadlineMs);
			return {
				ok: await within(limits.deadlineMs, this.#run({ digest, input, limits }, script, port), late),
			};
		} catch (thrown) {
			return { error: { code: "internal", message: describe(thrown).message } };
		} finally {
			port.close();
		}
	}

	/** Takes a module in ahead of its runs: then it is known whether it can run, and the first of them waits for little. */
	async #keep(module: ScriptModule): Promise<Script> {
		const bytes = module.format === "wasm" ? module.bytes : new TextEncoder().encode(module.source);
		await checkDigest(module.digest, bytes);
		const script = module.format === "wasm" ? this.#wasm(module) : js(module.source);
		if (script.format === "js") {
			const reason = await new JsCell(this.env.LOADER, script.source).check();
			if (reason !== undefined) throw new ModuleError(reason);
			this.ctx.waitUntil(this.#nursery.prepare(module.digest, script.source));
		}
		this.#shelve(module.digest, script, bytes.byteLength);
		return script;
	}

	/** Takes in a module that runs wait for. The bridge has verified the digest, and a bundle's run tells whether it can. */
	#put(module: ScriptModule): void {
		const script = module.format === "wasm" ? this.#wasm(module) : js(module.source);
		const length = module.format === "wasm" ? module.bytes.byteLength : module.source.length;
		this.#shelve(module.digest, script, length);
	}

	#shelve(digest: string, script: Script, bytes: number): void {
		scripts.put(digest, script, bytes);
		arrivals.settle(digest, script);
	}

	#wasm({ bytes, plain }: { bytes: Uint8Array; plain?: true }): Script {
		return { format: "wasm", module: new StoredModule(plain ? meter(bytes) : bytes, this.env.UNSAFE_EVAL) };
	}

	async #run({ digest, input, limits }: RunSpec, script: Script, port: HostPort): Promise<ScriptExit> {
		if (script.format === "wasm") {
			const { module } = script;
			this.ctx.waitUntil(scheduler.wait(PREPARE_MS).then(() => module.prepare(limits.memoryBytes)));
			return runWasm(() => module.take(limits.memoryBytes), input, port, limits.cpuMs);
		}
		try {
			return cleanExit(
				await this.#runJs({ digest, source: script.source, input, deadlineMs: limits.deadlineMs }, port),
				port,
			);
		} catch (thrown) {
			if (port.breach !== undefined) return limitEnd(port.breach.code, port.breach.message);
			const { message } = describe(thrown);
			return { ops: [], end: "trap", error: { code: "initscriptTrapped", message } };
		}
	}

	/** In a spare isolate, or in a new one when there is none, or when the spare failed before it did anything. */
	async #runJs(spec: SpareRun, port: HostPort): Promise<unknown> {
		try {
			const end = await this.#nursery.run(spec, port);
			if (end !== undefined) return end;
		} catch (thrown) {
			if (port.used) throw thrown;
		}
		return new JsCell(this.env.LOADER, spec.source).run(spec.input, port);
	}

	get #nursery(): DurableObjectStub<Nursery> {
		return this.env.NURSERY.get(this.env.NURSERY.idFromName("nursery"));
	}
}

function js(source: string): Script {
	if (source.length > MAX_SOURCE) throw new ModuleError(`the bundle has more than ${MAX_SOURCE} characters`);
	return { format: "js", source };
}

/** Why a module cannot run. */
function refused(thrown: unknown): { error: ScriptError } {
	const message = thrown instanceof ModuleError ? thrown.message : describe(thrown).message;
	return { error: { code: "invalidArgument", message } };
}

/** The runner, within the request that opened this. */
class OpenSession extends RpcTarget implements RunnerSession {
	readonly #runner: ScriptRunner;

	constructor(runner: ScriptRunner) {
		super();
		this.#runner = runner;
	}

	run(spec: RunSpec, host: HostApi): Promise<Outcome<ScriptExit>> {
		return this.#runner.run(spec, host);
	}

	[Symbol.dispose](): void {}
}

async function checkDigest(digest: string, bytes: Uint8Array): Promise<void> {
	const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
	const hex = Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
	if (hex !== digest) throw new ModuleError(`the module's digest is ${hex}, not ${digest}`);
}
