import { describe, expect, test } from "vitest";
import type { ScriptOp } from "../../isolates/protocol.ts";
import { decisions, type Facts, request, Scene, send, submitted } from "./reducer.scene.ts";
import type { Input } from "./reducer.ts";
import { mayRestart } from "./restart.ts";
import { CLAIM_WAIT_MS } from "./state.ts";

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
		expect([...scene.state.rpcs.values()].map(({ phase }) => phase)).toEqual(["sent", "refused", "refused"]);
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
				place: "",
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

	test("one of a deadline beyond a clock's bound is looked at from time to time", () => {
		const scene = new Scene();
		scene.ops({ op: "expectMsg", id: 7n });
		const claimed = {
			claim: 1n,
			id: 7n,
			content: "",
			diverges: "",
			deadlineMillis: 2 ** 32 - 1,
			connection: false,
		};
		expect(scene.event({ which: "claimed", claimed })).toEqual([{ effect: "timer", claim: 1n, ms: 600_000 }]);
		expect(scene.timer(1n, 600_000)).toEqual([{ effect: "timer", claim: 1n, ms: 600_000 }]);
		const wait: Input = { input: "recvMsg", now: scene.now, waiter: 0, id: 1n, timeoutMs: 2 ** 32 - 1 };
		expect(scene.step(wait)).toEqual([{ effect: "waitTimer", waiter: 0, ms: 600_000 }]);
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

describe("a script that is run again", () => {
	const accepted = (idempotent: boolean): Facts => ({
		which: "rpcAccepted",
		rpcAccepted: { rpc: 7n, content: "GET s3://b/k", idempotent },
	});
	const again: ScriptOp[] = [...send, { op: "expect", count: 1 }, { op: "sendReply", id: 7n, rpc: 7n }];

	test("repeats what it did without an effect, and goes on from there", () => {
		const scene = new Scene();
		scene.ops(...again);
		scene.event(accepted(true));
		scene.event({ which: "appMessage", appMessage: { id: 1n, length: 0n, inlined: new Uint8Array() } });
		scene.step({ input: "recvMsg", now: 0, waiter: 0, id: 1n });
		expect(mayRestart(scene.state)).toBe(true);
		scene.step({ input: "recvMsg", now: 0, waiter: 1, id: 2n });
		expect(scene.step({ input: "restart", now: 0 })).toMatchObject([
			{ waiter: 1, outcome: { error: { code: "runnerLost" } } },
		]);
		expect(scene.ops({ op: "log", level: "info", text: "again" }, ...again)).toEqual([]);
		expect(scene.step({ input: "recvMsg", now: 0, waiter: 2, id: 1n })).toMatchObject([
			{ outcome: { ok: {} } },
		]);
		expect(submitted(scene.ops({ op: "sendMsg", id: 9n, data: request }))).toHaveLength(1);
		expect(submitted(scene.exit())).toEqual([{ which: "scriptEnded" }]);
		expect(scene.state).toMatchObject({ scriptError: undefined, lines: [] });
		expect(mayRestart(scene.state)).toBe(false);
	});

	test("may ask twice under one id, as it did; another request is another script", () => {
		const wrong: ScriptOp = { op: "sendRpc", conn: 1, rpc: 7n, request: request.slice(1) };
		const other: ScriptOp = { op: "sendRpc", conn: 1, rpc: 7n, request: request.toReversed() };
		for (const [ops, fails] of [
			[[...send, wrong], false],
			[[send[0] as ScriptOp, other], true],
		] as const) {
			const scene = new Scene();
			scene.ops(...send, wrong);
			scene.event(accepted(true));
			scene.step({ input: "restart", now: 0 });
			scene.ops(...ops);
			expect(scene.state.scriptError?.code).toBe(fails ? "runnerLost" : undefined);
		}
	});

	test("and does something else has failed", () => {
		const scene = new Scene({ onFailure: "fail" });
		scene.ops(...again);
		scene.event(accepted(true));
		scene.step({ input: "restart", now: 0 });
		const effects = scene.ops({ op: "expect", count: 1 }, { op: "sendMsg", id: 9n, data: request });
		expect(submitted(effects)).toEqual([{ which: "scriptEnded" }]);
		expect(effects.at(-1)).toMatchObject({ effect: "fail", error: { code: "runnerLost" } });
		const short = new Scene();
		short.ops(...again);
		short.event(accepted(true));
		short.step({ input: "restart", now: 0 });
		short.exit();
		expect(short.state.scriptError?.message).toContain("without 4 of its calls");
	});

	test("must not have sent what must not be sent twice", () => {
		const scene = new Scene();
		scene.ops(...send);
		expect(mayRestart(scene.state)).toBe(false);
		scene.event(accepted(false));
		expect(mayRestart(scene.state)).toBe(false);
		expect(mayRestart(new Scene().state)).toBe(true);
	});
});
