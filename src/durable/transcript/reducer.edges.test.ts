/** Where two rules meet, and where a runner says more than a script may. */
import { expect, test } from "vitest";
import type { ScriptOp } from "../../isolates/protocol.ts";
import { decisions, type Facts, request, Scene, send, submitted } from "./reducer.scene.ts";
import { MAX_CALLS } from "./state.ts";

const accepted: Facts = {
	which: "rpcAccepted",
	rpcAccepted: { rpc: 7n, content: "GET s3://b/k", idempotent: true },
};
const wrote: Facts = {
	which: "called",
	called: { content: "PUT s3://b/k", status: 200, bytes: 0n, nanos: 1n, error: { code: "ok", message: "" } },
};

test("what was fetched before a write is void, also when it is sent after it", () => {
	const scene = new Scene();
	scene.ops(...send);
	scene.event(accepted);
	expect(scene.event(wrote)).toEqual([]);
	const sent = submitted(scene.ops({ op: "sendReply", id: 1n, rpc: 7n }));
	expect(sent.map(({ which }) => which)).toEqual(["message", "void"]);
	expect(decisions(scene.claim(1n, 1n))).toEqual(["1 voided"]);
	scene.ops({ op: "sendRpc", conn: 1, rpc: 8n, request });
	scene.event({ which: "rpcAccepted", rpcAccepted: { rpc: 8n, content: "GET s3://b/k", idempotent: true } });
	expect(submitted(scene.ops({ op: "sendReply", id: 2n, rpc: 8n })).map(({ which }) => which)).toEqual([
		"message",
	]);
	expect(submitted(scene.event(wrote))).toEqual([{ which: "void", void: 2n }]);
});

test("a claim that gives up leaves another of the same id waiting, which hears when nobody is going to send it", () => {
	const scene = new Scene();
	scene.ops({ op: "expectMsg", id: 5n });
	scene.claim(1n, 5n);
	scene.claim(2n, 5n);
	const late = { code: "deadline", message: "" } as const;
	scene.event({ which: "served", served: { id: 5n, bytes: 0n, waitedNanos: 1n, error: late } });
	expect(decisions(scene.exit())).toContain("2 miss");
});

test("what is announced once covers all claims of one id", () => {
	const scene = new Scene();
	scene.ops({ op: "expect", count: 1 });
	scene.claim(1n, 5n);
	scene.claim(2n, 5n);
	expect(decisions(scene.step({ input: "recvMsg", now: scene.now, waiter: 0, id: 1n }))).toEqual([]);
	expect(decisions(scene.claim(3n, 6n))).toEqual(["3 miss"]);
});

test("what was announced is for the next claim when one has given up", () => {
	const scene = new Scene();
	scene.ops({ op: "expect", count: 1 });
	scene.claim(1n, 5n);
	scene.now += 990;
	scene.claim(2n, 6n);
	expect(decisions(scene.timer(1n, 10))).toEqual(["1 deadline"]);
	expect(decisions(scene.timer(2n, 10))).toEqual([]);
	expect(decisions(scene.timer(2n, 980))).toEqual(["2 deadline"]);
});

test("a script whose replies go to files may be run again", () => {
	const to = { place: "file:/tmp/weights", offset: 0, room: 0 };
	const fetches: ScriptOp[] = [
		{ op: "connect", conn: 1, address: "s3://b" },
		{ op: "sendRpc", conn: 1, rpc: 7n, request, to },
		{ op: "sendRpc", conn: 1, rpc: 7n, request, to },
	];
	const scene = new Scene();
	scene.ops(...fetches);
	scene.event(accepted);
	scene.step({ input: "restart", now: 0 });
	expect(scene.ops(...fetches)).toEqual([]);
	expect(scene.state.scriptError).toBeUndefined();

	const elsewhere = new Scene();
	elsewhere.ops(...fetches);
	elsewhere.event(accepted);
	elsewhere.step({ input: "restart", now: 0 });
	elsewhere.ops(...fetches.slice(0, 1), {
		op: "sendRpc",
		conn: 1,
		rpc: 7n,
		request,
		to: { ...to, offset: 9 },
	});
	expect(elsewhere.state.scriptError?.code).toBe("runnerLost");
});

test("a runner that says more than a script may ends the script, and what is kept of it is bounded", () => {
	const scene = new Scene();
	const address = `s3://${"b".repeat(4000)}`;
	const batch = Array.from({ length: 1000 }, (): ScriptOp => ({ op: "connect", conn: 1, address }));
	for (let said = 0; said < 2 * MAX_CALLS; said += batch.length) scene.ops(...batch);
	expect(scene.state.scriptError?.code).toBe("initscriptLimit");
	expect(scene.state.history.length).toBeLessThanOrEqual(MAX_CALLS + 1);
	expect(scene.state.history.join("").length).toBeLessThan(100 * MAX_CALLS);
});
