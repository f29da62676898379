/** Script, application, network and clock, which act in any order, and any of which fails. */
import fc from "fast-check";
import type { Event, Op } from "../../bridge/bridge.ts";
import type { ScriptOp } from "../../isolates/protocol.ts";
import { Recorder } from "./recording.ts";
import { type Input, reduce } from "./reducer.ts";
import { mayRestart } from "./restart.ts";
import { RuleBook } from "./rules.ts";
import { type Effect, initialState, type Rules, type State } from "./state.ts";

const ids = fc.bigInt({ min: 0n, max: 3n });
const conns = fc.integer({ min: 0, max: 4 });
const addresses = fc.constantFrom("s3://b", "tcp://c:1");
const contents = fc.constantFrom("GET s3://b/0", "GET s3://b/1", "PUT s3://b/0", "");
const errors = fc.constantFrom(
	{ code: "ok", message: "" } as const,
	{ code: "connectionReset", message: "x" } as const,
);
const data = fc.uint8Array({ maxLength: 3 });
const places = fc.constantFrom(0, 9).map((offset) => ({ place: "file:/tmp/x", offset, room: 0 }));
const timeouts = fc.constantFrom<{ timeoutMs?: number }>({}, { timeoutMs: 1 }, { timeoutMs: 25 });

const scriptOps: fc.Arbitrary<ScriptOp> = fc.oneof(
	fc.record({ op: fc.constant("connect" as const), conn: conns, address: addresses }),
	fc.record({ op: fc.constant("sendRpc" as const), conn: conns, rpc: ids, request: data }),
	fc.record({ op: fc.constant("sendRpc" as const), conn: conns, rpc: ids, request: data, to: places }),
	fc.record({ op: fc.constant("sendMsg" as const), id: ids, data }),
	fc.record({ op: fc.constant("sendReply" as const), id: ids, rpc: ids }),
	fc.record({ op: fc.constant("transferConn" as const), id: ids, address: addresses, conn: conns }),
	fc.record({ op: fc.constant("expect" as const), count: fc.integer({ min: 0, max: 3 }) }),
	fc.record({ op: fc.constant("expectMsg" as const), id: ids }),
	fc.record({ op: fc.constant("log" as const), level: fc.constant("info" as const), text: fc.constant("x") }),
);

/** A step of somebody; what depends on the state before is filled in when it is done. */
type Act =
	| { act: "ops"; ops: ScriptOp[] }
	| { act: "receive"; rpc: bigint; timeout: { timeoutMs?: number } }
	| { act: "recvMsg"; id: bigint; timeout: { timeoutMs?: number } }
	| { act: "getConn"; id: bigint; address: string; conn: number; timeout: { timeoutMs?: number } }
	| { act: "exit"; failed: boolean }
	/** The runner dies. `faithful`: the script does the same again. */
	| { act: "crash"; faithful: boolean }
	| { act: "claim"; id: bigint; content: string; deadline: number; diverges: boolean; crossed: boolean }
	| { act: "claimConn"; id: bigint; address: string; deadline: number }
	| { act: "accept"; rpc: bigint; content: string; idempotent: boolean }
	| { act: "done"; rpc: bigint; error: { code: "ok" | "connectionReset"; message: string } }
	| { act: "failMessage"; id: bigint }
	| { act: "serve"; id: bigint }
	/** A claim of what was not sent is over, a little before our own clock says so. */
	| { act: "giveUp"; id: bigint }
	/** `crossed`: while it is being withdrawn. */
	| {
			act: "ready" | "take";
			id: bigint;
			address: string;
			crossed: boolean;
			error: { code: "ok" | "connectionReset"; message: string };
	  }
	| { act: "appSends"; id: bigint; length: number }
	| { act: "appOffers"; id: bigint; address: string }
	| { act: "appExits"; failed: boolean }
	| { act: "call"; content: string }
	| { act: "wait"; ms: number }
	/** The invocation has its answer. */
	| { act: "answered" }
	| { act: "invocation" }
	/** The stream to the bridge breaks for good, or the instance ends. */
	| { act: "close" };

type Name = Act["act"];
const act = <K extends Name, T>(name: K, shape: { [P in keyof T]: fc.Arbitrary<T[P]> }): fc.Arbitrary<Act> =>
	fc.record({ act: fc.constant(name), ...shape }) as unknown as fc.Arbitrary<Act>;

const acts: fc.Arbitrary<Act> = fc.oneof(
	{ weight: 30, arbitrary: act("ops", { ops: fc.array(scriptOps, { maxLength: 4 }) }) },
	{ weight: 5, arbitrary: act("receive", { rpc: ids, timeout: timeouts }) },
	{ weight: 5, arbitrary: act("recvMsg", { id: ids, timeout: timeouts }) },
	{ weight: 8, arbitrary: act("getConn", { id: ids, address: addresses, conn: conns, timeout: timeouts }) },
	{ weight: 1, arbitrary: act("exit", { failed: fc.boolean() }) },
	{ weight: 1, arbitrary: act("crash", { faithful: fc.boolean() }) },
	{
		weight: 16,
		arbitrary: act("claim", {
			id: ids,
			content: contents,
			deadline: fc.integer({ min: 0, max: 50 }),
			diverges: fc.boolean(),
			crossed: fc.boolean(),
		}),
	},
	{
		weight: 6,
		arbitrary: act("claimConn", { id: ids, address: addresses, deadline: fc.integer({ min: 0, max: 50 }) }),
	},
	{ weight: 5, arbitrary: act("accept", { rpc: ids, content: contents, idempotent: fc.boolean() }) },
	{ weight: 10, arbitrary: act("done", { rpc: ids, error: errors }) },
	{ weight: 6, arbitrary: act("failMessage", { id: ids }) },
	{ weight: 6, arbitrary: act("serve", { id: ids }) },
	{ weight: 3, arbitrary: act("giveUp", { id: ids }) },
	...(["ready", "take"] as const).map((name) => ({
		weight: 3,
		arbitrary: act(name, { id: ids, address: addresses, crossed: fc.boolean(), error: errors }),
	})),
	{ weight: 6, arbitrary: act("appSends", { id: ids, length: fc.integer({ min: 0, max: 20_000 }) }) },
	{ weight: 8, arbitrary: act("appOffers", { id: ids, address: addresses }) },
	{ weight: 1, arbitrary: act("appExits", { failed: fc.boolean() }) },
	{ weight: 4, arbitrary: act("call", { content: contents }) },
	{ weight: 12, arbitrary: act("wait", { ms: fc.integer({ min: 0, max: 30 }) }) },
	{ weight: 1, arbitrary: act("answered", {}) },
	{ weight: 1, arbitrary: act("invocation", {}) },
	{ weight: 1, arbitrary: act("close", {}) },
);

/** Plays acts against the reducer as a truthful bridge and clock would. */
export class World {
	readonly state: State;
	readonly book: RuleBook;
	readonly recorder: Recorder;
	readonly sent: Op[] = [];
	readonly answers = new Map<number, number>();
	now = 0;
	waiters = 0;
	/** What the bridge knows: it says each of these once. */
	readonly #told = new Set<string>();
	readonly #script: ScriptOp[] = [];
	#timers: { at: number; input: Input }[] = [];
	#claim = 0n;

	constructor(rules: Rules) {
		this.state = initialState(rules);
		this.book = new RuleBook(rules);
		this.recorder = new Recorder(rules);
	}

	play(it: Act): void {
		const { now } = this;
		switch (it.act) {
			case "ops":
				this.#script.push(...it.ops);
				this.#step({ input: "ops", now, ops: it.ops });
				break;
			case "receive":
				this.#step({ input: "receive", now, waiter: this.waiters++, rpc: it.rpc, ...it.timeout });
				break;
			case "recvMsg":
				this.#step({ input: "recvMsg", now, waiter: this.waiters++, id: it.id, ...it.timeout });
				break;
			case "getConn": {
				const { id, address, conn, timeout } = it;
				this.#step({ input: "getConn", now, waiter: this.waiters++, id, address, conn, ...timeout });
				break;
			}
			case "exit": {
				const error = { code: "initscriptTrapped", message: "x" } as const;
				this.#step({ input: "exit", now, ...(it.failed ? { error } : {}) });
				break;
			}
			case "crash":
				this.#crash(it.faithful);
				break;
			case "claim":
				this.#claims(it);
				break;
			case "claimConn": {
				const { id, address: content, deadline: deadlineMillis } = it;
				if (this.#told.has(`take ${id} ${content}`)) break;
				const claim = ++this.#claim;
				const claimed = { claim, id, content, diverges: "", deadlineMillis, connection: true };
				this.#event({ which: "claimed", claimed });
				break;
			}
			case "accept":
				if (!this.#dispatched(it.rpc) || !this.#once(`accept ${it.rpc}`)) break;
				this.#event({
					which: "rpcAccepted",
					rpcAccepted: { rpc: it.rpc, content: it.content, idempotent: it.idempotent },
				});
				break;
			case "done":
				if (this.#dispatched(it.rpc) && this.#once(`done ${it.rpc}`)) this.#done(it.rpc, it.error);
				break;
			case "failMessage": {
				const carries = this.sent.find((op) => op.which === "message" && op.message.id === it.id);
				if (carries?.which !== "message" || carries.message.which !== "reply") break;
				if (!this.#once(`serve ${it.id}`)) break;
				const error = { code: "instanceMemoryFull", message: "x" } as const;
				this.#event({ which: "messageFailed", messageFailed: { id: it.id, error } });
				break;
			}
			case "serve": {
				const message = this.sent.find((op) => op.which === "message" && op.message.id === it.id);
				if (message?.which !== "message" || !this.#once(`serve ${it.id}`)) break;
				const bytes = message.message.which === "data" ? BigInt(message.message.data.length) : 7n;
				const error = { code: "ok", message: "" } as const;
				if (this.state.invocation > 1) break;
				this.#event({ which: "served", served: { id: it.id, bytes, waitedNanos: 0n, error } });
				break;
			}
			case "giveUp": {
				if (this.sent.some((op) => op.which === "message" && op.message.id === it.id)) break;
				const error = { code: "deadline", message: "x" } as const;
				this.#event({ which: "served", served: { id: it.id, bytes: 0n, waitedNanos: 0n, error } });
				break;
			}
			case "ready":
			case "take": {
				const { id, address, error } = it;
				const handedOver = this.sent.some(
					(op) => op.which === "transfer" && op.transfer.id === id && op.transfer.address === address,
				);
				if (!handedOver || this.state.invocation > 1 || this.#told.has(`take ${id} ${address}`)) break;
				// What is withdrawn nobody takes, if it was not taken at that moment.
				if (this.#isWithdrawn(id, address) && !it.crossed) break;
				if (it.act === "take" || error.code !== "ok") this.#told.add(`take ${id} ${address}`);
				if (it.act === "ready") this.#event({ which: "connReady", connReady: { id, address, error } });
				else this.#event({ which: "connTaken", connTaken: { id, address, kind: "socket", error } });
				break;
			}
			case "appSends": {
				if (this.#told.has("app exits") || !this.#once(`app sends ${it.id}`)) break;
				const inlined = new Uint8Array(it.length <= 16_384 ? it.length : 0);
				const appMessage = { id: it.id, length: BigInt(it.length), inlined };
				this.#event({ which: "appMessage", appMessage });
				break;
			}
			case "appOffers":
				if (this.#told.has("app exits") || !this.#once(`app offers ${it.id} ${it.address}`)) break;
				this.#event({ which: "connOffered", connOffered: { id: it.id, address: it.address } });
				break;
			case "appExits": {
				if (!this.#once("app exits")) break;
				const error = it.failed
					? ({ code: "instanceMemoryFull", message: "x" } as const)
					: ({ code: "ok", message: "" } as const);
				this.#event({ which: "sandboxExited", sandboxExited: { status: 0, signal: 0, error } });
				break;
			}
			case "call": {
				const error = { code: "ok", message: "" } as const;
				const called = { content: it.content, status: 200, bytes: 0n, nanos: 0n, error };
				this.#event({ which: "called", called });
				break;
			}
			case "wait":
				this.#wait(it.ms);
				break;
			case "answered":
				this.#step({ input: "answered", now });
				break;
			case "invocation":
				this.#step({ input: "invocation", now });
				break;
			case "close":
				this.#step({ input: "close", now, error: { code: "instanceClosed", message: "" } });
				break;
		}
	}

	/** Lets all time pass that anybody waits for. */
	rest(): void {
		this.#wait(1000);
	}

	/** The next runner runs the script from its beginning; one that may not be run again has failed. */
	#crash(faithful: boolean): void {
		const { now } = this;
		if (!mayRestart(this.state)) {
			this.#step({ input: "exit", now, error: { code: "runnerLost", message: "x" } });
			return;
		}
		this.#step({ input: "restart", now });
		if (!faithful) return;
		const before = this.sent.length;
		for (const op of this.#script) this.#step({ input: "ops", now, ops: [op] });
		if (this.sent.length !== before) throw new Error("a script that repeated itself had effects");
	}

	#claims({ id, content, deadline, diverges, crossed }: Extract<Act, { act: "claim" }>): void {
		const published = this.sent.some((op) => op.which === "message" && op.message.id === id);
		// A truthful bridge asks only for what it does not know, or knows otherwise, or learns at this moment.
		if (published && !diverges && !crossed) return;
		const claim = ++this.#claim;
		const other = published && diverges ? "GET s3://b/9" : "";
		this.#event({
			which: "claimed",
			claimed: { claim, id, content, diverges: other, deadlineMillis: deadline, connection: false },
		});
	}

	#isWithdrawn(id: bigint, address: string): boolean {
		return this.sent.some(
			(op) =>
				op.which === "withdraw" &&
				!op.withdraw.ofApp &&
				op.withdraw.id === id &&
				op.withdraw.address === address,
		);
	}

	#dispatched(rpc: bigint): boolean {
		return this.sent.some((op) => op.which === "send" && op.send.rpc === rpc);
	}

	#once(fact: string): boolean {
		if (this.#told.has(fact)) return false;
		this.#told.add(fact);
		return true;
	}

	#done(rpc: bigint, error: { code: "ok" | "connectionReset"; message: string }): void {
		const reply = {
			status: 200,
			segment: 0,
			offset: 0n,
			length: 0n,
			inlined: new Uint8Array(),
			headers: [],
			attempts: 1,
		};
		this.#event({ which: "rpcDone", rpcDone: { rpc, reply, error } });
	}

	#wait(ms: number): void {
		const until = this.now + ms;
		for (;;) {
			const due = this.#timers.filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)[0];
			if (due === undefined) break;
			this.#timers = this.#timers.filter((it) => it !== due);
			this.now = Math.max(this.now, due.at);
			this.#step({ ...due.input, now: this.now });
		}
		this.now = until;
	}

	#event(event: Record<string, unknown> & { which: Event["which"] }): void {
		this.#step({ input: "event", now: this.now, event: { seq: 1n, at: 0n, ...event } as Event });
	}

	#step(input: Input): void {
		const effects = reduce(this.state, input);
		for (const it of effects) this.#effect(it);
		this.book.step(input, effects);
		this.recorder.step(input, effects);
	}

	#effect(it: Effect): void {
		const { now } = this;
		switch (it.effect) {
			case "timer":
				this.#timers.push({ at: now + it.ms, input: { input: "timer", now, claim: it.claim } });
				break;
			case "waitTimer":
				this.#timers.push({ at: now + it.ms, input: { input: "waitTimer", now, waiter: it.waiter } });
				break;
			case "submit":
				this.sent.push(it.op);
				break;
			case "fail":
				break;
			default:
				this.answers.set(it.waiter, (this.answers.get(it.waiter) ?? 0) + 1);
		}
	}
}

/** Rules, and what happens under them. */
export const plays = fc.record({
	rules: fc.record({
		script: fc.constant(true),
		app: fc.constantFrom(true, true, true, false),
		onFailure: fc.constantFrom("fallback" as const, "fail" as const),
		maxRpcs: fc.integer({ min: 1, max: 6 }),
		maxConnections: fc.integer({ min: 1, max: 3 }),
		maxMessages: fc.integer({ min: 1, max: 6 }),
		maxBytes: fc.constantFrom(1 << 20, 24),
	}),
	acts: fc.array(acts, { maxLength: 60, size: "max" }),
});

/** How things are when all of it has happened. */
export function played(rules: Rules, acts: readonly Act[]): World {
	const world = new World(rules);
	const connections = [0, 1].map((conn): ScriptOp => ({ op: "connect", conn, address: "s3://b" }));
	world.play({ act: "ops", ops: connections });
	for (const act of acts) world.play(act);
	return world;
}
