/**
 * One instance from spare to reaped: its script, its stream of events from the bridge, and what its transcript decides of
 * them (driver.ts). Touches no storage.
 */
import {
	type Bridge,
	type Event,
	type Instance,
	type InstanceMode,
	MAX_EVENT_WAIT_MS,
	type Op,
} from "../../bridge/bridge.ts";
import type { Outcome, ScriptMessage, ScriptReply } from "../../isolates/protocol.ts";
import { type ErrorValue, HeadstartError } from "../../shared/error.ts";
import { type DeployedFunction, functionSpec } from "../../shared/function.ts";
import { DEFAULT_SCRIPT_LIMITS } from "../../shared/manifest.ts";
import type { InstanceRecord, InstanceState, InstanceSummary, TraceEvent } from "../../shared/record.ts";
import { Batches } from "./batches.ts";
import { Driver, NOTHING } from "./driver.ts";
import { ScriptHost, type ScriptPort, type Timeout } from "./host-api.ts";
import { readMessage, readReply } from "./reading.ts";
import { missed, traceEvent, unclaimed } from "./record.ts";
import type { Input } from "./reducer.ts";
import { mayRestart } from "./restart.ts";
import { type Download, type RunnerBinding, runScript, type ScriptEnd } from "./script-run.ts";
import type { Rules, State } from "./state.ts";
import { turnsOf } from "./turns.ts";

/** How many edges of the timeline are kept. */
const MAX_EVENTS = 10_000;
/** How many of the script's lines go to the node's log. */
const MAX_LOGGED_LINES = 2000;

/** What is noted when the script ends, before how it did. */
const SCRIPT_ENDED = "initscript ended: ";

/** What its owner hears of a run. */
export interface RunListener {
	/** The answer to the invocation under way is complete, or it failed. */
	answered(error: ErrorValue | undefined): void;
	/** The application is gone. */
	exited(): void;
	/** All is reaped, or out of reach. */
	ended(): void;
	/** Of the function's initscript. */
	sourceMap(): Promise<string | undefined>;
	/** A new stream to the bridge, in the place of one that broke. */
	reconnect(): Promise<Bridge>;
}

export interface Begin {
	deployed: DeployedFunction;
	mode: InstanceMode;
	/** CLOCK_MONOTONIC ns when the request left its caller, or 0. */
	receivedAt: bigint;
	/** Whether all inputs are recorded, for tests. */
	record?: boolean;
	/** Whether it is a service's: it has no invocations. */
	service?: boolean;
}

export class Run implements ScriptPort {
	readonly id: string;
	/** Resolves when the script has ended; at once where there is none. */
	scriptEnded: Promise<void> = Promise.resolve();
	readonly #listener: RunListener;
	readonly #events: TraceEvent[] = [];
	#bridge: Bridge;
	#instance: Instance;
	#begin: Begin | undefined;
	#driver: Driver;
	#phase: InstanceState = "running";
	#startedAt = 0;
	#endedAt: number | undefined;
	#invocations = 0;
	/** Where the timeline of the invocation under way begins. */
	#since = 0;
	#seq = 0n;
	#loggedLines = 0;
	readonly #batches: Batches;
	#script: ScriptEnd | undefined;
	#failure: ErrorValue | undefined;
	#starting = false;
	#stopping = false;
	#exited = false;
	#ended = false;
	#settled: (() => void)[] = [];
	readonly #gone = Promise.withResolvers<void>();

	private constructor(bridge: Bridge, instance: Instance, id: string, listener: RunListener, fresh = true) {
		this.#bridge = bridge;
		this.#instance = instance;
		this.id = id;
		this.#listener = listener;
		this.#batches = new Batches(
			(ops) => this.#instance.submit(ops),
			(error) => this.#fail(error),
		);
		this.#driver = this.#driverOf(NOTHING);
		if (fresh) void this.#pump();
	}

	/**
	 * An instance that outlived its host, taken over by the next one: with all that it has told. Its initscript is gone with the
	 * runner's call, so what the application asks for from now on it does by itself.
	 */
	static async adopt(
		bridge: Bridge,
		id: string,
		listener: RunListener,
		begin: Begin & { startedAt: number },
	): Promise<Run> {
		const instance = await bridge.attach(id);
		const run = new Run(bridge, instance, id, listener, false);
		run.assign(begin);
		run.#startedAt = begin.startedAt;
		run.#driver.state.script = "none";
		run.#batches.release();
		await run.#catchUp();
		run.#submit([{ which: "scriptEnded" }]);
		void run.#pump();
		return run;
	}

	/** A spare: an instance with no function in it, whose events are already waited for. */
	static async create(bridge: Bridge, tenant: string, listener: RunListener): Promise<Run> {
		const instance = bridge.createInstance(tenant);
		return new Run(bridge, instance, await instance.id, listener);
	}

	get summary(): InstanceSummary {
		const deployed = this.#begin?.deployed;
		return {
			id: this.id,
			function: deployed?.manifest.name ?? "",
			digest: deployed?.digest ?? "",
			mode: this.#begin?.mode ?? "normal",
			state: this.#phase,
			startedAt: this.#startedAt,
			invocations: this.#invocations,
			...(this.#endedAt === undefined ? {} : { endedAt: this.#endedAt }),
			...(this.#failure === undefined ? {} : { error: this.#failure }),
		};
	}

	get record(): InstanceRecord {
		const { end, error, stack } = this.#script ?? {};
		return {
			...this.summary,
			...(end === undefined
				? {}
				: { script: { end, ...(error && { error }), ...(stack !== undefined && { stack }) } }),
			events: this.#events,
			scriptLines: this.state.lines,
			unclaimed: unclaimed(this.state),
			missed: missed(this.state),
			divergences: this.state.divergences,
			...(this.#driver.recording === undefined ? {} : { recording: this.#driver.recording }),
		};
	}

	get state(): State {
		return this.#driver.state;
	}

	/** Why the run as a whole has failed. */
	get failure(): ErrorValue | undefined {
		return this.#failure;
	}

	/** The timeline of the invocation under way. */
	get invocationEvents(): readonly TraceEvent[] {
		return this.#events.slice(this.#since);
	}

	/** Whether it waits for its function's next invocation. */
	get resting(): boolean {
		return this.#phase === "warm";
	}

	get hasEnded(): boolean {
		return this.#ended;
	}

	get usable(): boolean {
		return !this.#stopping && !this.#exited && !this.#ended && this.#failure === undefined;
	}

	/** Makes the instance a function's. `start` and `startScript` follow, in either order. */
	assign(begin: Begin): void {
		const { manifest, script } = begin.deployed;
		const limits = manifest.initscript?.limits ?? DEFAULT_SCRIPT_LIMITS;
		const scripted = script !== undefined && (begin.mode === "normal" || begin.mode === "initscriptOnly");
		this.#begin = begin;
		this.#startedAt = Date.now();
		if (begin.service) this.#phase = "serving";
		else this.#invocations = 1;
		const rules = {
			script: scripted,
			app: begin.mode !== "initscriptOnly",
			onFailure: manifest.initscript?.on_failure ?? "fallback",
			maxRpcs: limits.rpcs,
			maxConnections: limits.connections,
			maxMessages: limits.messages,
			maxBytes: limits.bytes,
		};
		this.#driver = this.#driverOf(rules, begin.record);
	}

	/** Tells the bridge of the function. The message leaves at once; what is wrong shows as `failure`. */
	start(): Promise<void> {
		this.#starting = true;
		return this.#start().then(
			() => {
				if (!this.#ended) this.#batches.release();
			},
			(thrown) => {
				const own = HeadstartError.from(thrown).value();
				// The script may have failed before, and ended the instance with it.
				const { code, message } = this.#failure ?? own;
				this.#fail(own);
				throw new HeadstartError(code, message);
			},
		);
	}

	/** Runs the function's initscript, if this run has one: the one that is here, or one to `download`. The call leaves at once. */
	startScript(runner: RunnerBinding, input: Uint8Array, download?: Download): void {
		const { deployed } = this.#begin ?? {};
		const script = deployed?.script;
		if (script === undefined || this.state.script !== "running") return;
		const limits = deployed?.manifest.initscript?.limits ?? DEFAULT_SCRIPT_LIMITS;
		// A metered module cannot keep its runner from answering.
		const turns = turnsOf(deployed?.tenant ?? "");
		const turn = script.module.format === "js" ? turns.begin() : undefined;
		const host = new ScriptHost(this, turn);
		const run = runScript(runner, host, {
			script,
			...(download && { download: this.#forAsLong(download) }),
			input,
			limits: { deadlineMs: limits.deadline, memoryBytes: limits.memory, cpuMs: limits.cpu },
			sourceMap: () => this.#listener.sourceMap(),
			mayRestart: () => !this.#ended && mayRestart(this.state),
			blame: async () => {
				if (turn === undefined) return undefined;
				return turns.blame(turn, await this.#bridge.runner(deployed?.tenant ?? ""));
			},
			restart: () => {
				turn?.again();
				this.#reduce({ input: "restart", now: Date.now() });
				this.#note("initscript restarted");
			},
		});
		// One that runs from the start on needs no note of its own: the host's thread has better things to do then.
		if (this.#starting) this.#note("initscript started");
		this.scriptEnded = run.then((end) => {
			if (turn !== undefined) turns.end(turn);
			host.close();
			if (this.#ended) return;
			this.#script = end;
			this.ops(end.ops);
			this.#note(`${SCRIPT_ENDED}${end.end}`);
			this.#reduce({ input: "exit", now: Date.now(), ...(end.error && { error: end.error }) });
			const { scriptError } = this.state;
			// One that was run again and did something else has failed, whatever it says of itself.
			if (end.error === undefined && scriptError !== undefined)
				this.#script = { ...end, end: scriptError.code, error: scriptError };
			if (end.stack !== undefined) this.#note(`initscript: ${end.stack}`);
		});
	}

	/** What comes for an instance that has ended meanwhile is nobody's. */
	#forAsLong({ toRunner, toHost }: Download): Download {
		const still = <T>(downloaded: T): T => {
			if (this.#ended) throw new HeadstartError("instanceClosed", "the instance has ended");
			return downloaded;
		};
		return { toRunner: () => toRunner().then(still), toHost: () => toHost().then(still) };
	}

	/** The next invocation is here: nobody else's from now on. */
	wake(): void {
		this.#phase = "running";
		this.#invocations += 1;
		this.#since = this.#events.length;
	}

	/** The next invocation of a warm instance begins: it has nothing of the first one's. */
	async again(): Promise<void> {
		const ops = this.#driver.decide({ input: "invocation", now: Date.now() });
		// What was submitted at the end of the one before may be on its way still: the bridge takes batches in order.
		if (ops.length > 0 || this.#batches.underWay) await this.#instance.submit(ops);
	}

	/** It stays for its function's next invocation. */
	rest(): void {
		this.#phase = "warm";
		this.#reduce({ input: "answered", now: Date.now() });
	}

	/** Ends the instance; `ended` follows. Idempotent. */
	stop(reason: string): void {
		if (this.#stopping) return;
		this.#stopping = true;
		this.#instance.stop(reason).catch((error: unknown) => this.#lost(HeadstartError.from(error)));
	}

	/** The caller went away. */
	cancel(): void {
		this.#failure ??= { code: "cancelled", message: "the caller went away" };
		this.stop("the caller went away");
	}

	/** Resolves when all is reaped, or out of reach. */
	get gone(): Promise<void> {
		return this.#gone.promise;
	}

	/** Resolves when no RPC is in flight. */
	async settled(): Promise<void> {
		while (!this.#ended && [...this.state.rpcs.values()].some(({ phase }) => phase === "sent")) {
			await new Promise<void>((resolve) => this.#settled.push(resolve));
		}
	}

	ops(ops: Parameters<ScriptPort["ops"]>[0]): void {
		this.#reduce({ input: "ops", now: Date.now(), ops });
		const logs = ops.filter((op) => op.op === "log").slice(0, MAX_LOGGED_LINES - this.#loggedLines);
		this.#loggedLines += logs.length;
		this.#submit(logs.map(({ level, text }) => ({ which: "note", note: `initscript ${level}: ${text}` })));
	}

	receive(rpc: bigint, timeout: Timeout): Promise<Outcome<ScriptReply>> {
		return this.#driver.receive(rpc, timeout);
	}

	recvMsg(id: bigint, timeout: Timeout): Promise<Outcome<ScriptMessage>> {
		return this.#driver.recvMsg(id, timeout);
	}

	getConn(id: bigint, address: string, conn: number, timeout: Timeout): Promise<Outcome<true>> {
		return this.#driver.getConn(id, address, conn, timeout);
	}

	read(rpc: bigint, offset: number, length: number): Promise<Outcome<Uint8Array>> {
		return readReply(this.state, this.#instance, rpc, offset, length);
	}

	readMsg(id: bigint, offset: number, length: number): Promise<Outcome<Uint8Array>> {
		return readMessage(this.state, this.#instance, id, offset, length);
	}

	async #start(): Promise<void> {
		if (this.#begin === undefined) throw new HeadstartError("internal", "a start without a function");
		const { deployed, receivedAt } = this.#begin;
		const scripted = this.state.script !== "none" || this.#begin.mode !== "normal";
		const mode = scripted ? this.#begin.mode : "noInitscript";
		try {
			await this.#instance.start(deployed.digest, mode, receivedAt);
		} catch (thrown) {
			if (!(thrown instanceof HeadstartError) || thrown.code !== "unknownFunction") throw thrown;
			// A bridge that was restarted has forgotten its functions.
			await this.#bridge.putFunction(functionSpec(deployed));
			await this.#instance.start(deployed.digest, mode, receivedAt);
		}
	}

	/** Puts the events of before into the timeline. Of these only claims that nobody has answered are still to be decided. */
	async #catchUp(): Promise<void> {
		const open = new Map<bigint, Event>();
		for (;;) {
			const events = await this.#instance.events(this.#seq, 0).result;
			for (const event of events) {
				this.#seq = event.seq;
				if (this.#events.length < MAX_EVENTS) this.#events.push(traceEvent(event));
				if (event.which === "claimed") open.set(event.claimed.id, event);
				if (event.which === "noted" && event.noted.startsWith(SCRIPT_ENDED))
					this.#script = { ops: [], end: event.noted.slice(SCRIPT_ENDED.length) };
				if (event.which === "served") open.delete(event.served.id);
				if (event.which === "ended") throw new HeadstartError("instanceClosed", event.ended.reason);
			}
			if (events.length === 0) break;
		}
		for (const event of open.values()) this.#reduce({ input: "event", now: Date.now(), event });
	}

	async #pump(): Promise<void> {
		while (!this.#ended) {
			try {
				for (const event of await this.#instance.events(this.#seq, MAX_EVENT_WAIT_MS).result)
					this.#event(event);
			} catch (thrown) {
				const error = HeadstartError.from(thrown);
				if (!(await this.#reattach(error))) this.#lost(error);
			}
		}
	}

	/**
	 * Takes the instance over on a new stream, when the old one broke and the bridge has it still. Not with a batch in
	 * doubt: it may have been applied or not, and an instance must not guess.
	 */
	async #reattach(error: HeadstartError): Promise<boolean> {
		if (error.code !== "bridgeLost" || this.#begin === undefined || this.#ended) return false;
		if (this.#batches.inDoubt) return false;
		try {
			this.#bridge = await this.#listener.reconnect();
			this.#instance = await this.#bridge.attach(this.id);
			return true;
		} catch {
			return false;
		}
	}

	#event(event: Event): void {
		this.#seq = event.seq;
		if (this.#events.length < MAX_EVENTS) this.#events.push(traceEvent(event));
		this.#reduce({ input: "event", now: Date.now(), event });
		switch (event.which) {
			case "rpcDone":
				this.#wakeSettled();
				break;
			case "answerEnded": {
				const { error } = event.answerEnded;
				// A handler that raised an error is as good as new; after any other the instance goes.
				if (error.code !== "ok" && error.code !== "functionFailed") this.#failure ??= error;
				this.#listener.answered(error.code === "ok" ? undefined : error);
				break;
			}
			case "sandboxExited":
				// The bridge answers the open invocation and ends the instance by itself.
				this.#exited = true;
				this.#listener.exited();
				break;
			case "ended":
				this.#finish(this.#failure === undefined ? "ended" : "failed");
				break;
			default:
		}
	}

	#driverOf(rules: Rules, record = false): Driver {
		return new Driver(rules, record, {
			submit: (ops) => this.#submit(ops),
			fail: (error) => this.#fail(error),
		});
	}

	#reduce(input: Input): void {
		this.#driver.apply(input);
	}

	/** Stamps a line on the timeline. */
	#note(note: string): void {
		this.#submit([{ which: "note", note }]);
	}

	#submit(ops: Op[]): void {
		if (!this.#ended) this.#batches.add(ops);
	}

	#fail(error: ErrorValue): void {
		this.#failure ??= error;
		this.stop(error.code);
	}

	/** The stream broke, or the bridge does not know the instance any more. */
	#lost(error: HeadstartError): void {
		if (this.#ended) return;
		this.#failure ??= error.value();
		this.#reduce({ input: "close", now: Date.now(), error: error.value() });
		this.#finish("failed");
	}

	#finish(state: InstanceState): void {
		this.#ended = true;
		if (this.state.rules.script) this.#script ??= { ops: [], end: "cut short by the instance's end" };
		this.#phase = state;
		this.#endedAt = Date.now();
		this.#driver.stop();
		this.#instance[Symbol.dispose]();
		this.#wakeSettled();
		this.#gone.resolve();
		this.#listener.ended();
	}

	#wakeSettled(): void {
		for (const wake of this.#settled.splice(0)) wake();
	}
}
