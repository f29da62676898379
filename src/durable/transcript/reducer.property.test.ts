/** The rules hold whatever the order in which script, application and network act, and whoever of them fails. */
import fc from "fast-check";
import { test } from "vitest";
import type { Event, Op } from "../../bridge/bridge.ts";
import type { ScriptOp } from "../../isolates/protocol.ts";
import { type Input, reduce } from "./reducer.ts";
import { CLAIM_WAIT_MS, type Effect, initialState, type Rules, type State } from "./state.ts";

const ids = fc.bigInt({ min: 0n, max: 5n });
const conns = fc.integer({ min: 0, max: 3 });
const contents = fc.constantFrom("GET s3://b/0", "GET s3://b/1", "PUT s3://b/0", "");
const errors = fc.constantFrom(
	{ code: "ok", message: "" } as const,
	{ code: "connectionReset", message: "x" } as const,
);
const data = fc.uint8Array({ maxLength: 3 });

const scriptOps: fc.Arbitrary<ScriptOp> = fc.oneof(
	fc.record({
		op: fc.constant("connect" as const),
		conn: conns,
		address: fc.constantFrom("s3://b", "s3://c"),
	}),
	fc.record({ op: fc.constant("sendRpc" as const), conn: conns, rpc: ids, request: data }),
	fc.record({ op: fc.constant("sendMsg" as const), id: ids, data }),
	fc.record({ op: fc.constant("sendReply" as const), id: ids, rpc: ids }),
	fc.record({ op: fc.constant("expect" as const), count: fc.integer({ min: 0, max: 3 }) }),
	fc.record({ op: fc.constant("expectMsg" as const), id: ids }),
);

/** A step of somebody; what depends on the state before is filled in when it is done. */
type Act =
	| { act: "ops"; ops: ScriptOp[] }
	| { act: "receive"; rpc: bigint }
	| { act: "exit"; failed: boolean }
	| { act: "claim"; id: bigint; content: string; deadline: number; diverges: boolean }
	| { act: "done"; rpc: bigint; error: { code: "ok" | "connectionReset"; message: string } }
	| { act: "serve"; id: bigint }
	| { act: "call"; content: string }
	| { act: "wait"; ms: number }
	| { act: "invocation" }
	| { act: "close" };

const acts: fc.Arbitrary<Act> = fc.oneof(
	{
		weight: 24,
		arbitrary: fc.record({ act: fc.constant("ops" as const), ops: fc.array(scriptOps, { maxLength: 4 }) }),
	},
	{ weight: 6, arbitrary: fc.record({ act: fc.constant("receive" as const), rpc: ids }) },
	{ weight: 1, arbitrary: fc.record({ act: fc.constant("exit" as const), failed: fc.boolean() }) },
	{
		weight: 16,
		arbitrary: fc.record({
			act: fc.constant("claim" as const),
			id: ids,
			content: contents,
			deadline: fc.integer({ min: 0, max: 50 }),
			diverges: fc.boolean(),
		}),
	},
	{ weight: 10, arbitrary: fc.record({ act: fc.constant("done" as const), rpc: ids, error: errors }) },
	{ weight: 6, arbitrary: fc.record({ act: fc.constant("serve" as const), id: ids }) },
	{ weight: 4, arbitrary: fc.record({ act: fc.constant("call" as const), content: contents }) },
	{
		weight: 12,
		arbitrary: fc.record({ act: fc.constant("wait" as const), ms: fc.integer({ min: 0, max: 30 }) }),
	},
	{ weight: 1, arbitrary: fc.constant({ act: "invocation" as const }) },
	{ weight: 1, arbitrary: fc.constant({ act: "close" as const }) },
);

/** Plays acts against the reducer as a truthful bridge and clock would, and keeps what they saw. */
class World {
	readonly state: State;
	readonly sent: Op[] = [];
	readonly replies = new Map<number, number>();
	readonly decided = new Map<bigint, number>();
	readonly claims = new Map<bigint, { id: bigint; at: number; deadline: number }>();
	readonly claimed = new Map<bigint, bigint>();
	now = 0;
	#timers: { at: number; claim: bigint }[] = [];
	#waiters = 0;
	#claim = 0n;
	readonly #check: (world: World, effects: Effect[]) => void;

	constructor(rules: Rules, check: (world: World, effects: Effect[]) => void = () => undefined) {
		this.state = initialState(rules);
		this.#check = check;
	}

	get waiters(): number {
		return this.#waiters;
	}

	play(act: Act): void {
		switch (act.act) {
			case "ops":
				this.#step({ input: "ops", now: this.now, ops: act.ops });
				break;
			case "receive":
				this.#step({ input: "receive", now: this.now, waiter: this.#waiters++, rpc: act.rpc });
				break;
			case "exit": {
				const error = { code: "initscriptTrapped", message: "x" } as const;
				this.#step({ input: "exit", now: this.now, ...(act.failed ? { error } : {}) });
				break;
			}
			case "claim":
				this.#claims(act);
				break;
			case "done":
				if (this.sent.some((op) => op.which === "send" && op.send.rpc === act.rpc))
					this.#done(act.rpc, act.error);
				break;
			case "serve":
				if (this.#published(act.id)) {
					const error = { code: "ok", message: "" } as const;
					for (const [number, it] of this.claims) if (it.id === act.id) this.claims.delete(number);
					this.#event({ which: "served", served: { id: act.id, bytes: 1n, waitedNanos: 0n, error } });
				}
				break;
			case "call": {
				const error = { code: "ok", message: "" } as const;
				const called = { content: act.content, status: 200, bytes: 0n, nanos: 0n, error };
				this.#event({ which: "called", called });
				break;
			}
			case "wait":
				this.#wait(act.ms);
				break;
			case "invocation":
				this.#step({ input: "invocation", now: this.now });
				break;
			case "close":
				this.#step({ input: "close", now: this.now, error: { code: "instanceClosed", message: "" } });
				break;
		}
	}

	/** Lets all time pass that anybody waits for. */
	rest(): void {
		this.#wait(1000);
	}

	#claims({ id, content, deadline, diverges }: Extract<Act, { act: "claim" }>): void {
		const published = this.#published(id);
		// A truthful bridge asks only for what it does not know, or knows otherwise.
		if (published && !diverges) return;
		const claim = ++this.#claim;
		this.claims.set(claim, { id, at: this.now, deadline: this.now + deadline });
		this.claimed.set(claim, id);
		this.#event({
			which: "claimed",
			claimed: {
				claim,
				id,
				content,
				diverges: published ? "GET s3://b/9" : "",
				deadlineMillis: deadline,
				connection: false,
			},
		});
	}

	#published(id: bigint): boolean {
		return this.sent.some((op) => op.which === "message" && op.message.id === id);
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
			this.#step({ input: "timer", now: this.now, claim: due.claim });
		}
		this.now = until;
	}

	#event(event: Record<string, unknown> & { which: Event["which"] }): void {
		this.#step({ input: "event", now: this.now, event: { seq: 1n, at: 0n, ...event } as Event });
	}

	#step(input: Input): void {
		const effects = reduce(this.state, input);
		for (const it of effects) {
			if (it.effect === "timer") this.#timers.push({ at: this.now + it.ms, claim: it.claim });
			if (it.effect === "reply") this.replies.set(it.waiter, (this.replies.get(it.waiter) ?? 0) + 1);
			if (it.effect === "submit") this.#submit(it.op);
		}
		this.#check(this, effects);
	}

	#submit(op: Op): void {
		this.sent.push(op);
		if (op.which === "decide") {
			this.decided.set(op.decide.claim, (this.decided.get(op.decide.claim) ?? 0) + 1);
			this.claims.delete(op.decide.claim);
		}
		// The bridge answers the claims of a message by itself.
		if (op.which === "message") {
			for (const [number, it] of this.claims) if (it.id === op.message.id) this.claims.delete(number);
		}
	}
}

const plays = fc.record({
	rules: fc.record({
		script: fc.constant(true),
		app: fc.constant(true),
		onFailure: fc.constantFrom("fallback" as const, "fail" as const),
		maxRpcs: fc.integer({ min: 1, max: 6 }),
		maxConnections: fc.integer({ min: 1, max: 3 }),
		maxMessages: fc.integer({ min: 1, max: 6 }),
		maxBytes: fc.constantFrom(1 << 20, 24),
	}),
	acts: fc.array(acts, { maxLength: 60, size: "max" }),
});

function holds(property: (world: World) => void, check?: (world: World, effects: Effect[]) => void): void {
	fc.assert(
		fc.property(plays, ({ rules, acts }) => {
			const world = new World(rules, check);
			for (const act of acts) world.play(act);
			property(world);
		}),
		{ numRuns: 500 },
	);
}

function must(condition: boolean, what: string): void {
	if (!condition) throw new Error(what);
}

test("batches are well formed: each connection, RPC and message is named once, and before it is used", () => {
	holds(({ sent, state }) => {
		const seen = { connect: new Set<number>(), send: new Set<bigint>(), message: new Set<bigint>() };
		for (const op of sent) {
			if (op.which === "connect") {
				must(!seen.connect.has(op.connect.conn), "a connection twice");
				seen.connect.add(op.connect.conn);
			} else if (op.which === "send") {
				must(!seen.send.has(op.send.rpc), "an RPC twice");
				must(seen.connect.has(op.send.conn), "an RPC on no connection");
				seen.send.add(op.send.rpc);
			} else if (op.which === "message") {
				must(!seen.message.has(op.message.id), "a message twice");
				must(op.message.which === "data" || seen.send.has(op.message.reply), "a message of no RPC");
				seen.message.add(op.message.id);
			}
		}
		must(seen.connect.size <= state.rules.maxConnections, "too many connections");
		must(seen.send.size <= state.rules.maxRpcs, "too many RPCs");
		must(seen.message.size <= state.rules.maxMessages, "too many messages");
		must(state.bytes <= state.rules.maxBytes, "too many bytes");
	});
});

test("nothing of the script follows its end", () => {
	holds(({ sent }) => {
		const end = sent.findIndex(({ which }) => which === "scriptEnded");
		if (end < 0) return;
		const late = sent.slice(end).filter(({ which }) => ["connect", "send", "message"].includes(which));
		must(late.length === 0, "a script's op after its end");
		must(sent.filter(({ which }) => which === "scriptEnded").length === 1, "two ends");
	});
});

test("who waits for a reply hears at most once, and at the end exactly once", () => {
	holds((world) => {
		world.play({ act: "close" });
		must(world.replies.size === world.waiters, "a waiter without an answer");
		must(
			[...world.replies.values()].every((times) => times === 1),
			"a waiter with two answers",
		);
	});
});

test("a claim is decided at most once, and when all time has passed none is open", () => {
	holds((world) => {
		world.rest();
		must(
			[...world.decided.values()].every((times) => times === 1),
			"a claim decided twice",
		);
		if (world.state.closed === undefined) must(world.claims.size === 0, "a claim that waits for ever");
	});
});

test("a claim never waits past its deadline, and an unexpected one no longer than the claim wait", () => {
	holds(
		() => undefined,
		(world) => {
			if (world.state.closed !== undefined) return;
			for (const [number, { at, deadline }] of world.claims) {
				const open = world.state.claims.get(number);
				const patience = open?.expected ? deadline : (open?.patience ?? at + CLAIM_WAIT_MS);
				must(world.now <= patience, `claim ${number} still open`);
			}
		},
	);
});

test("what the application was told to do itself is not dispatched after that", () => {
	holds(({ sent, claimed }) => {
		const owned = new Set<bigint>();
		for (const op of sent) {
			if (op.which === "send") must(!owned.has(op.send.rpc), "an RPC that the application owns");
			if (op.which === "message") must(!owned.has(op.message.id), "a message that the application owns");
			const id =
				op.which === "decide" && op.decide.error.code === "miss" ? claimed.get(op.decide.claim) : undefined;
			if (id !== undefined) owned.add(id);
		}
	});
});

test("the script's failure reaches the invocation under `fail`, and never under `fallback`", () => {
	let failures = 0;
	holds(
		({ state }) => {
			if (state.rules.onFailure === "fallback") must(failures === 0, "a failure under fallback");
			must(failures <= 1, "two failures");
			failures = 0;
		},
		(_, effects) => {
			failures += effects.filter(({ effect }) => effect === "fail").length;
		},
	);
});

test("after the next invocation nothing of the first is left to be claimed", () => {
	holds((world) => {
		if (world.state.closed !== undefined) return;
		world.play({ act: "invocation" });
		must(
			[...world.state.messages.values()].every(({ phase }) => phase !== "sent"),
			"a message of an earlier invocation",
		);
		must(world.state.claims.size === 0, "a claim of an earlier invocation");
	});
});
