import { DurableObject } from "cloudflare:workers";
import { Bridge } from "../bridge/bridge.ts";
import { bridgeError } from "../bridge/http-error.ts";
import { downloadInitscript, sendInitscript } from "../bridge/initscripts.ts";
import { putTenant } from "../bridge/tenants.ts";
import type { RunnerSession } from "../isolates/protocol.ts";
import type { Env } from "../shared/env.ts";
import { type ErrorValue, HeadstartError } from "../shared/error.ts";
import { errorResponse } from "../shared/error-response.ts";
import type { DeployedFunction } from "../shared/function.ts";
import type { InstanceRecord, InstanceSummary, ScriptRun } from "../shared/record.ts";
import type { Answer, Serving } from "../shared/service.ts";
import { TenantPace } from "../shared/tenant-pace.ts";
import {
	bootId,
	functions,
	handOver,
	type Invocation,
	pool,
	type ServiceStart,
	serviceStarts,
	tenants,
} from "./node.ts";
import { TenantRunner } from "./runners.ts";
import { invoke, takeSpare } from "./spares.ts";
import { readEvent } from "./transcript/event-body.ts";
import { Run, type RunListener } from "./transcript/run.ts";
import type { Download } from "./transcript/script-run.ts";
import { becomeReady, reason } from "./transcript/serving.ts";
import { serverTiming } from "./transcript/timing.ts";

const INSTANCE_HEADER = "x-headstart-instance";

/** How much longer than its function's timeout an answer may take. */
const BRIDGE_GRACE_MS = 30_000;
/** When a start is noted in the log, so that a host that ends after this knows of it. */
const NOTE_START_MS = 250;
/** How long an object tries to reach the bridge. */
const CONNECT_TIMEOUT_MS = 5000;
/** The source maps that are read for a tenant's stacks, on a thread that is everybody's (25 ms for 1 MiB). Beyond it stacks stay as they are. */
const sourceMaps = new TenantPace({ perSecond: 1 << 20, burst: 16 << 20 });

/**
 * An instance's transcript: the place where all that happens to it is put in order (docs/transcript.md). A spare one holds
 * an open stream to the bridge and an instance without a function; after its instance's end it becomes a spare again.
 *
 * It is never evicted, because it holds a stream, and touches no storage, because that delays its next write.
 */
export class Transcript extends DurableObject<Env> {
	readonly #name: string;
	#bridge: Bridge | undefined;
	#run: Run | undefined;
	#deployed: DeployedFunction | undefined;
	#keep = false;
	/** For the script of the instance. */
	#session: RunnerSession | undefined;
	/** The service whose instance it is. */
	#service: string | undefined;
	#resting: ReturnType<typeof setTimeout> | null = null;

	constructor(ctx: DurableObjectState, env: Env) {
		super(ctx, env);
		this.#name = ctx.id.toString();
	}

	/** Becomes a spare of a tenant. Rejects when the bridge cannot be reached. */
	async prepare(tenant: string): Promise<void> {
		if (this.#run !== undefined) return;
		const bridge = await this.#connected();
		const run = await this.#create(
			bridge,
			tenant,
			this.#listener(() => run),
		);
		this.#run = run;
		// Nobody waits for it: not a start that found no spare, nor one whose runner does not answer.
		void this.#openSession(tenant, run).catch(() => undefined);
	}

	/** Keeps a session for the instance's script, unless that has begun without one. */
	async #openSession(tenant: string, run: Run): Promise<void> {
		const session = await this.#runner(tenant).session();
		if (this.#run === run && this.#deployed === undefined) this.#session = session;
		else session?.[Symbol.dispose]();
	}

	/** Becomes an instance of a service. Answers when that is ready. */
	async serve(ticket: string): Promise<Answer<Serving>> {
		let run: Run | undefined;
		try {
			const start = started(ticket);
			const { deployed, id, input } = start;
			await this.prepare(deployed.tenant);
			run = this.#run;
			if (run === undefined) throw new HeadstartError("internal", "a spare without an instance");
			// `stop` found no instance while there was none.
			if (start.isStopped()) {
				run.stop("its service was stopped");
				throw new HeadstartError("cancelled", "the service was stopped");
			}
			this.#begin(run, deployed, id);
			const record = this.env.RECORD_INPUTS === "1";
			run.assign({ deployed, mode: "normal", receivedAt: 0n, record, service: true });
			run.startScript(this.#runner(deployed.tenant), input, this.#download(run, start));
			await run.start();
			this.#log(deployed.tenant, run);
			try {
				return { ok: await becomeReady(this.env, run, start) };
			} catch (thrown) {
				run.stop(HeadstartError.from(thrown).code);
				throw thrown;
			}
		} catch (thrown) {
			// With an instance, its end makes the object idle: not twice, or it would be given to two.
			if (run === undefined) pool.addIdle(this.#name);
			return { error: HeadstartError.from(thrown).value() };
		}
	}

	/** Takes a service's instance over that outlived its host. Says whether it was there. */
	async adopt(ticket: string, instance: string, startedAt: number): Promise<boolean> {
		try {
			const { deployed, id } = started(ticket);
			const begin = { deployed, mode: "normal" as const, receivedAt: 0n, service: true, startedAt };
			const run = await Run.adopt(
				await this.#connected(),
				instance,
				this.#listener(() => run),
				begin,
			);
			this.#run = run;
			this.#begin(run, deployed, id);
			return true;
		} catch (thrown) {
			pool.addIdle(this.#name);
			const { code } = HeadstartError.from(thrown);
			if (code !== "unknownInstance" && code !== "instanceClosed") console.error("not taken over", thrown);
			return false;
		}
	}

	/** How a start that may not have its initscript from anywhere on the node gets it. */
	#download(
		run: Run,
		{ deployed, withoutCaches }: { deployed: DeployedFunction; withoutCaches?: boolean },
	): Download | undefined {
		const artifact = withoutCaches ? deployed.script?.artifact : undefined;
		if (artifact === undefined) return undefined;
		return {
			toRunner: () => sendInitscript(this.env, artifact, run.id),
			toHost: () => downloadInitscript(this.env, artifact, run.id),
		};
	}

	#runner(tenant: string, session?: RunnerSession): TenantRunner {
		return new TenantRunner(this.env, tenant, () => this.#connected(), session);
	}

	#listener(run: () => Run): RunListener {
		return {
			reconnect: () => this.#connected(),
			sourceMap: () => this.#sourceMap(),
			answered: (error) => this.#answered(run(), error),
			exited: () => this.#leavePool(),
			ended: () => this.#ended(run()),
		};
	}

	async #sourceMap(): Promise<string | undefined> {
		const { tenant, manifest, script } = this.#deployed ?? {};
		if (tenant === undefined || manifest === undefined || script?.module.format !== "js") return undefined;
		if (sourceMaps.isBehind(tenant)) return undefined;
		const registry = this.env.REGISTRY.getByName("registry");
		const map = await registry.sourceMap(tenant, manifest.name, script.module.digest);
		sourceMaps.count(tenant, map?.length ?? 0);
		return map;
	}

	/** The instance is a service's from now on. */
	#begin(run: Run, deployed: DeployedFunction, service: string): void {
		this.#deployed = deployed;
		this.#service = service;
		this.#keep = false;
		pool.setLive(deployed.tenant, run.id, this.#name);
	}

	/** A bridge that was restarted has forgotten its tenants. */
	async #create(bridge: Bridge, tenant: string, listener: RunListener): Promise<Run> {
		try {
			return await Run.create(bridge, tenant, listener);
		} catch (thrown) {
			if (!(thrown instanceof HeadstartError) || thrown.code !== "unknownTenant") throw thrown;
			await putTenant(this.env.BRIDGE, tenants.get(tenant));
			return Run.create(bridge, tenant, listener);
		}
	}

	/** Runs an invocation: cold in a spare, warm where the instance has its function already. */
	override async fetch(request: Request): Promise<Response> {
		let instance: string | undefined;
		try {
			return await this.#invoke(request, (id) => {
				instance = id;
			});
		} catch (thrown) {
			if (this.#run === undefined && instance === undefined) pool.addIdle(this.#name);
			return errorResponse(HeadstartError.from(thrown), instance);
		}
	}

	/** What is known of the instance by now. */
	record(): InstanceRecord | undefined {
		return this.#run?.record;
	}

	summary(): InstanceSummary | undefined {
		return this.#run?.summary;
	}

	/** Ends the instance. */
	stop(reason: string): void {
		this.#run?.stop(reason);
	}

	/** `chosen` hears which instance it is, as soon as that is known. */
	async #invoke(request: Request, chosen: (id: string) => void): Promise<Response> {
		const invocation = handOver.take(new URL(request.url).pathname.slice(1));
		if (invocation === undefined)
			throw new HeadstartError("internal", "an object was asked for no invocation");
		if (this.#deployed !== undefined) return this.#invokeWarm(request, invocation, chosen);

		const { deployed, mode, cold, sentAt } = invocation;
		if (this.#run === undefined) await this.prepare(deployed.tenant);
		const run = this.#run;
		if (run === undefined) throw new HeadstartError("internal", "a spare without an instance");
		chosen(run.id);
		this.#deployed = deployed;
		this.#keep = !cold && deployed.manifest.app.keep_alive > 0;
		pool.setLive(deployed.tenant, run.id, this.#name);

		run.assign({ deployed, mode, receivedAt: sentAt, record: this.env.RECORD_INPUTS === "1" });
		// A script that a runner cannot bound runs apart, so that it takes nothing else with it: no session outlives its run.
		const session = deployed.script?.module.format === "wasm" ? this.#session : undefined;
		const runner = this.#runner(deployed.tenant, session);
		const download = this.#download(run, invocation);
		// The runner first, so that it works while the bridge is told. It does not wait for a body that is still to come.
		if (invocation.event !== undefined) {
			run.startScript(runner, invocation.event, download);
			// A call leaves when the thread has nothing else to do: the runner would wait for what `start` takes.
			if (run.state.script === "running") await scheduler.wait(0);
		}
		const started = run.start();
		started.catch(() => undefined);
		const event = invocation.event ?? (await this.#event(request, run, deployed));
		if (invocation.event === undefined) run.startScript(runner, event, download);
		this.#log(deployed.tenant, run);
		if (mode === "initscriptOnly") return this.#scriptOnly(run, started);
		return this.#answer(request, run, invocation, event);
	}

	async #invokeWarm(
		request: Request,
		invocation: Invocation,
		chosen: (id: string) => void,
	): Promise<Response> {
		const run = this.#run;
		// It ended in the moment in which it was chosen: a cold one serves the invocation.
		if (run === undefined || !run.usable || !run.resting) {
			return invoke(this.env, takeSpare(this.env, invocation.deployed.tenant), invocation, request);
		}
		clearTimeout(this.#resting);
		run.wake();
		chosen(run.id);
		const [event] = await Promise.all([
			invocation.event ?? this.#event(request, run, invocation.deployed),
			run.again(),
		]);
		return this.#answer(request, run, invocation, event);
	}

	/** The invocation's body. When it is too long or breaks off, the instance goes. */
	async #event(request: Request, run: Run, deployed: DeployedFunction): Promise<Uint8Array<ArrayBuffer>> {
		try {
			return await readEvent(request, deployed.manifest.app.limits.event);
		} catch (thrown) {
			run.stop("its event could not be read");
			throw thrown;
		}
	}

	async #answer(
		request: Request,
		run: Run,
		{ contentType, deployed }: Invocation,
		event: Uint8Array<ArrayBuffer>,
	): Promise<Response> {
		const timeoutMs = deployed.manifest.app.limits.timeout + BRIDGE_GRACE_MS;
		const headers: HeadersInit = contentType === undefined ? {} : { "content-type": contentType };
		let answer: Response;
		try {
			answer = await this.env.BRIDGE.fetch(`http://bridge/instances/${run.id}/invocations`, {
				method: "POST",
				body: event,
				headers,
				// The bridge keeps the function's own time; this is for a bridge that does not.
				signal: AbortSignal.any([request.signal, AbortSignal.timeout(timeoutMs)]),
			});
		} catch (thrown) {
			if (request.signal.aborted) {
				run.cancel();
				throw new HeadstartError("cancelled", "the caller went away");
			}
			throw run.failure === undefined
				? HeadstartError.from(thrown, "bridgeLost")
				: new HeadstartError(run.failure.code, run.failure.message);
		}
		const invocation = answer.headers.get("x-headstart-invocation");
		if (invocation === null) {
			const error = run.failure ?? (await bridgeError(answer));
			run.stop(error.code);
			throw new HeadstartError(error.code, error.message);
		}
		const answered = new Response(answer.body, answer);
		answered.headers.set(INSTANCE_HEADER, run.id);
		answered.headers.set("server-timing", serverTiming(run.invocationEvents));
		return answered;
	}

	/** Answers when the script and all its RPCs have ended. */
	async #scriptOnly(run: Run, started: Promise<void>): Promise<Response> {
		await started.catch((thrown: unknown) => {
			// A script that failed at once has ended the instance before it began.
			if (run.record.script?.error === undefined) throw thrown;
		});
		await run.scriptEnded;
		await run.settled();
		const { events, script, ...record } = run.record;
		const rpcs = [...run.state.rpcs.values()];
		const summary: ScriptRun = {
			instance: run.id,
			end: script?.end ?? "no initscript",
			...(script?.error === undefined ? {} : { error: script.error }),
			rpcs: rpcs.length,
			messages: run.state.messages.size,
			bytes: rpcs.reduce((sum, { outcome }) => sum + (outcome && "ok" in outcome ? outcome.ok.length : 0), 0),
			events,
		};
		run.stop("its initscript has ended");
		return Response.json(summary, { headers: { [INSTANCE_HEADER]: record.id } });
	}

	/** The answer is complete: the instance rests for the next one, or goes. */
	#answered(run: Run, error: ErrorValue | undefined): void {
		const deployed = this.#deployed;
		if (!this.#keep || !run.usable || deployed === undefined) {
			run.stop(error?.code ?? "its invocation has ended");
			return;
		}
		if (functions.version(deployed.digest) === undefined) {
			run.stop("another version was deployed");
			return;
		}
		run.rest();
		pool.addWarm(deployed.digest, this.#name);
		this.#resting = setTimeout(() => {
			if (pool.removeWarm(deployed.digest, this.#name)) run.stop("nobody invoked it again");
		}, deployed.manifest.app.keep_alive);
	}

	/** The instance is reaped: its record goes to the log, and this object is free again. */
	#ended(run: Run): void {
		clearTimeout(this.#resting);
		this.#session?.[Symbol.dispose]();
		this.#session = undefined;
		pool.removeSpare(this.#name);
		this.#leavePool();
		const deployed = this.#deployed;
		if (this.#service !== undefined) this.#served(this.#service, run);
		this.#run = undefined;
		this.#deployed = undefined;
		this.#service = undefined;
		if (deployed === undefined) {
			pool.addIdle(this.#name);
			return;
		}
		this.#finish(deployed.tenant, run.record).catch((error: unknown) =>
			console.error("the log did not take a record", error),
		);
	}

	/** Tells the services that an instance of theirs has ended. */
	#served(service: string, run: Run): void {
		const error = reason(run);
		this.env.SERVICES.getByName("services")
			.ended(service, { instance: run.id, ...(error && { error }) })
			.catch((thrown: unknown) => console.error("the end of a service's instance was not told", thrown));
	}

	/** The instance cannot serve another invocation. */
	#leavePool(): void {
		if (this.#deployed !== undefined) pool.removeWarm(this.#deployed.digest, this.#name);
	}

	async #finish(tenant: string, record: InstanceRecord): Promise<void> {
		try {
			// One of a tenant that was removed meanwhile must not be there for the next of that name.
			if (tenants.existed(tenant, record.startedAt))
				await this.env.LOG.getByName("log").finish(bootId(), tenant, record);
		} finally {
			pool.endLive(record.id);
			if (this.#run === undefined) pool.addIdle(this.#name);
		}
	}

	/** Notes the start once it is over: a write to the disk stops the host's one thread. */
	#log(tenant: string, run: Run): void {
		setTimeout(() => {
			if (run.hasEnded || !tenants.existed(tenant, run.summary.startedAt)) return;
			this.env.LOG.getByName("log")
				.begin(bootId(), tenant, run.summary)
				.catch((error: unknown) => console.error("the log did not take a start", error));
		}, NOTE_START_MS);
	}

	async #connected(): Promise<Bridge> {
		if (this.#bridge?.alive) return this.#bridge;
		const bridge = Bridge.connect(this.env.BRIDGE);
		const late = setTimeout(() => bridge[Symbol.dispose](), CONNECT_TIMEOUT_MS);
		try {
			await bridge.hello();
		} finally {
			clearTimeout(late);
		}
		this.#bridge = bridge;
		return bridge;
	}
}

/** The service's start that is on its way under this name. */
function started(ticket: string): ServiceStart {
	const start = serviceStarts.take(ticket);
	if (start === undefined) throw new HeadstartError("internal", "an object was asked for no service");
	return start;
}
