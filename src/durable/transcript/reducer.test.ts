import { describe, expect, test } from "vitest";
import type { Event, Op } from "../../bridge/bridge.ts";
import type { ScriptOp } from "../../isolates/protocol.ts";
import { type Input, reduce } from "./reducer.ts";
import { CLAIM_WAIT_MS, type Effect, initialState, type Rules, type State } from "./state.ts";

const rules: Rules = {
	script: true,
	app: true,
	onFailure: "fallback",
	maxRpcs: 8,
	maxConnections: 2,
	maxMessages: 8,
	maxBytes: 1 << 20,
};
const request = new TextEncoder().encode("GET key\n\n");

type Facts = Event extends infer E ? (E extends Event ? Omit<E, "seq" | "at"> : never) : never;

class Scene {
	readonly state: State;
	now = 1000;

	constructor(changed: Partial<Rules> = {}) {
		this.state = initialState({ ...rules, ...changed });
	}

	ops(...ops: ScriptOp[]): Effect[] {
		return this.step({ input: "ops", now: this.now, ops });
	}

	event(event: Facts): Effect[] {
		return this.step({ input: "event", now: this.now, event: { seq: 1n, at: 0n, ...event } as Event });
	}

	claim(claim: bigint, id: bigint, content = "GET s3://b/k", diverges = ""): Effect[] {
		return this.event({
			which: "claimed",
			claimed: { claim, id, content, diverges, deadlineMillis: 1000, connection: false },
		});
	}

	exit(error?: { code: "initscriptTrapped"; message: string }): Effect[] {
		return this.step({ input: "exit", now: this.now, ...(error && { error }) });
	}

	timer(claim: bigint, after: number): Effect[] {
		this.now += after;
		return this.step({ input: "timer", now: this.now, claim });
	}

	step(input: Input): Effect[] {
		return reduce(this.state, input);
	}
}

function submitted(effects: Effect[]): Op[] {
	return effects.flatMap((it) => (it.effect === "submit" ? [it.op] : []));
}

function decisions(effects: Effect[]): string[] {
	return submitted(effects).flatMap((op) =>
		op.which === "decide" ? [`${op.decide.claim} ${op.decide.error.code}`] : [],
	);
}

const send: ScriptOp[] = [
	{ op: "connect", conn: 1, address: "s3://b" },
	{ op: "sendRpc", conn: 1, rpc: 7n, request },
];

describe("sends", () => {
	test("an RPC id is dispatched once; asking again waits for it; another request is a fault", () => {
		const scene = new Scene();
		expect(submitted(scene.ops(...send)).map(({ which }) => which)).toEqual(["connect", "send"]);
		expect(scene.ops(...send)).toEqual([]);
		expect(scene.ops({ op: "sendRpc", conn: 1, rpc: 7n, request: request.slice(1) })).toEqual([]);
		expect(scene.state.lines.map(({ text }) => text)).toEqual([
			"rpcDuplicate: RPC 7 was sent with another request",
		]);
	});

	test("a message id is published once", () => {
		const scene = new Scene();
		const message: ScriptOp = { op: "sendMsg", id: 1n, data: request };
		expect(submitted(scene.ops(message))).toHaveLength(1);
		expect(scene.ops(message)).toEqual([]);
		expect(scene.state.lines[0]?.text).toContain("messageDuplicate");
	});

	test("limits refuse what is beyond them, and say the use and the limit", () => {
		const scene = new Scene({ maxRpcs: 1, maxConnections: 1, maxMessages: 1, maxBytes: 20 });
		scene.ops(...send);
		expect(scene.ops({ op: "connect", conn: 2, address: "s3://c" })).toEqual([]);
		expect(scene.ops({ op: "sendRpc", conn: 1, rpc: 8n, request })).toEqual([]);
		expect(scene.ops({ op: "sendRpc", conn: 2, rpc: 9n, request })).toEqual([]);
		scene.ops({ op: "sendMsg", id: 20n, data: request });
		expect(scene.ops({ op: "sendMsg", id: 21n, data: request })).toEqual([]);
		expect(scene.state.lines.map(({ text }) => text)).toEqual([
			"initscriptConnections: connections: 2 of at most 1",
			"initscriptRpcs: rpcs: 2 of at most 1",
			"initscriptConnections: connections: 2 of at most 1",
			"initscriptMessages: messages: 2 of at most 1",
		]);
		const mute = new Scene({ maxBytes: request.length - 1 });
		mute.ops(...send, { op: "sendMsg", id: 20n, data: request });
		expect(mute.state.lines[0]?.text).toBe("initscriptBytes: bytes: 9 of at most 8");
		expect(scene.state.rpcs.size).toBe(1);
	});

	test("a message that carries an RPC which was not sent fails, and so does a claim of it", () => {
		const scene = new Scene();
		scene.ops({ op: "expectMsg", id: 3n });
		scene.claim(1n, 3n);
		expect(decisions(scene.ops({ op: "sendReply", id: 3n, rpc: 99n }))).toEqual(["1 rpcUnknown"]);
		expect(decisions(scene.claim(2n, 3n))).toEqual(["2 rpcUnknown"]);
	});
});

describe("replies", () => {
	const done: Facts = {
		which: "rpcDone",
		rpcDone: {
			rpc: 7n,
			reply: {
				status: 200,
				segment: 0,
				offset: 0n,
				length: 2n,
				inlined: Uint8Array.of(1, 2),
				headers: [],
				attempts: 1,
			},
			error: { code: "ok", message: "" },
		},
	};

	test("who waits hears of it once, who comes later at once", () => {
		const scene = new Scene();
		scene.ops(...send);
		expect(scene.step({ input: "receive", now: 0, waiter: 0, rpc: 7n })).toEqual([]);
		const outcome = { ok: { status: 200, length: 2, body: Uint8Array.of(1, 2) } };
		expect(scene.event(done)).toEqual([{ effect: "reply", waiter: 0, outcome }]);
		expect(scene.step({ input: "receive", now: 0, waiter: 1, rpc: 7n })).toEqual([
			{ effect: "reply", waiter: 1, outcome },
		]);
		expect(scene.event(done)).toEqual([]);
	});

	test("an RPC that was never sent is an error", () => {
		const [effect] = new Scene().step({ input: "receive", now: 0, waiter: 0, rpc: 7n });
		expect(effect).toMatchObject({ effect: "reply", outcome: { error: { code: "rpcUnknown" } } });
	});

	test("the instance's end answers all who wait", () => {
		const scene = new Scene();
		scene.ops(...send);
		scene.step({ input: "receive", now: 0, waiter: 0, rpc: 7n });
		const effects = scene.step({ input: "close", now: 0, error: { code: "bridgeLost", message: "" } });
		expect(effects).toMatchObject([
			{ effect: "reply", waiter: 0, outcome: { error: { code: "bridgeLost" } } },
		]);
	});
});

describe("claims", () => {
	test("an unexpected one waits for a running script, then is a miss, and the id is the application's", () => {
		const scene = new Scene();
		expect(scene.claim(1n, 7n)).toEqual([{ effect: "timer", claim: 1n, ms: CLAIM_WAIT_MS }]);
		expect(decisions(scene.timer(1n, CLAIM_WAIT_MS))).toEqual(["1 miss"]);
		expect(submitted(scene.ops(...send)).map(({ which }) => which)).toEqual(["connect"]);
		const [reply] = scene.step({ input: "receive", now: 0, waiter: 0, rpc: 7n });
		expect(reply).toMatchObject({ outcome: { error: { code: "appOwns" } } });
		expect(scene.ops({ op: "sendReply", id: 7n, rpc: 7n })).toEqual([]);
	});

	test("a message that comes in time leaves the bridge to answer it", () => {
		const scene = new Scene();
		scene.claim(1n, 7n);
		expect(submitted(scene.ops(...send, { op: "sendReply", id: 7n, rpc: 7n }))).toHaveLength(3);
		expect(decisions(scene.timer(1n, CLAIM_WAIT_MS))).toEqual([]);
		scene.event({
			which: "served",
			served: { id: 7n, bytes: 1n, waitedNanos: 1n, error: { code: "ok", message: "" } },
		});
		expect(scene.state.claims.size).toBe(0);
		expect(decisions(scene.claim(2n, 7n))).toEqual(["2 alreadyClaimed"]);
	});

	test("an expected one waits until its own deadline", () => {
		const scene = new Scene();
		scene.ops({ op: "expectMsg", id: 7n });
		expect(scene.claim(1n, 7n)).toEqual([{ effect: "timer", claim: 1n, ms: 1000 }]);
		expect(scene.timer(1n, 500)).toEqual([]);
		expect(decisions(scene.timer(1n, 500))).toEqual(["1 deadline"]);
	});

	test("one that waits already is covered by an expectation that comes later", () => {
		const scene = new Scene();
		scene.claim(1n, 7n);
		scene.claim(2n, 8n);
		expect(scene.ops({ op: "expect", count: 1 })).toEqual([]);
		expect(scene.timer(1n, CLAIM_WAIT_MS)).toEqual([
			{ effect: "timer", claim: 1n, ms: 1000 - CLAIM_WAIT_MS },
		]);
		expect(decisions(scene.timer(2n, 0))).toEqual(["2 miss"]);
	});

	test("without a script, after its end, and in a warm invocation it is a miss at once", () => {
		expect(decisions(new Scene({ script: false }).claim(1n, 7n))).toEqual(["1 miss"]);
		const ended = new Scene();
		ended.exit();
		expect(decisions(ended.claim(1n, 7n))).toEqual(["1 miss"]);
		const warm = new Scene();
		warm.step({ input: "invocation", now: 0 });
		expect(decisions(warm.claim(1n, 7n))).toEqual(["1 miss"]);
	});

	test("one of other content is a divergence, and a miss", () => {
		const scene = new Scene();
		expect(decisions(scene.claim(1n, 7n, "GET s3://b/k", "GET s3://b/other"))).toEqual(["1 diverged"]);
		expect(scene.state).toMatchObject({ divergences: 1, missed: [{ id: "7", code: "diverged" }] });
	});

	test("the script's end answers those it has no message for", () => {
		const scene = new Scene();
		scene.ops(...send, { op: "expect", count: 5 }, { op: "sendReply", id: 7n, rpc: 7n });
		scene.claim(1n, 7n);
		scene.claim(2n, 8n);
		expect(decisions(scene.exit())).toEqual(["2 miss"]);
	});

	test("a script's failure is a miss under `fallback`, and the invocation's under `fail`", () => {
		const error = { code: "initscriptTrapped", message: "unreachable" } as const;
		const fallback = new Scene();
		fallback.claim(1n, 7n);
		expect(decisions(fallback.exit(error))).toEqual(["1 miss"]);
		const fail = new Scene({ onFailure: "fail" });
		fail.claim(1n, 7n);
		const effects = fail.exit(error);
		expect(decisions(effects)).toEqual(["1 initscriptTrapped"]);
		expect(effects.at(-1)).toEqual({ effect: "fail", error });
	});
});

describe("results belong to what they were fetched for", () => {
	test("a write by the application voids what was fetched of the key", () => {
		const scene = new Scene();
		scene.ops(...send, { op: "sendReply", id: 7n, rpc: 7n });
		scene.event({
			which: "rpcAccepted",
			rpcAccepted: { rpc: 7n, content: "GET s3://b/k", idempotent: true },
		});
		const called = { status: 200, bytes: 0n, nanos: 1n, error: { code: "ok", message: "" } } as const;
		expect(scene.event({ which: "called", called: { ...called, content: "GET s3://b/k" } })).toEqual([]);
		expect(scene.event({ which: "called", called: { ...called, content: "PUT s3://b/other" } })).toEqual([]);
		const effects = scene.event({ which: "called", called: { ...called, content: "PUT s3://b/k" } });
		expect(submitted(effects)).toEqual([{ which: "void", void: 7n }]);
		expect(decisions(scene.claim(1n, 7n))).toEqual(["1 voided"]);
	});

	test("the next invocation voids what the first did not claim, and ends the script", () => {
		const scene = new Scene();
		scene.ops(...send, { op: "sendReply", id: 7n, rpc: 7n });
		const effects = scene.step({ input: "invocation", now: 0 });
		expect(submitted(effects)).toEqual([{ which: "scriptEnded" }, { which: "void", void: 7n }]);
		expect(scene.ops({ op: "sendMsg", id: 9n, data: request })).toEqual([]);
	});
});
