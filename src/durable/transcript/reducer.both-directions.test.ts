import { describe, expect, test } from "vitest";
import type { ScriptOp } from "../../isolates/protocol.ts";
import { unclaimed } from "./record.ts";
import { decisions, type Facts, request, Scene, submitted } from "./reducer.scene.ts";
import type { Input } from "./reducer.ts";
import { CLAIM_WAIT_MS, type Effect } from "./state.ts";

describe("messages of the application", () => {
	const sends = (id: bigint, length = 2n): Facts => ({
		which: "appMessage",
		appMessage: { id, length, inlined: length > 2n ? new Uint8Array() : Uint8Array.of(1, 2) },
	});
	const receive = (waiter: number, id: bigint, timeoutMs?: number): Input => ({
		input: "recvMsg",
		now: 1000,
		waiter,
		id,
		...(timeoutMs === undefined ? {} : { timeoutMs }),
	});
	const got = { ok: { length: 2, body: Uint8Array.of(1, 2) } };

	test("one is received whether it comes before the call or after it, and once", () => {
		const scene = new Scene();
		scene.event(sends(1n));
		expect(scene.step(receive(0, 1n))).toEqual([{ effect: "message", waiter: 0, outcome: got }]);
		expect(scene.step(receive(1, 1n))).toMatchObject([{ outcome: { error: { code: "alreadyClaimed" } } }]);
		expect(scene.step(receive(2, 2n))).toEqual([]);
		expect(scene.step(receive(3, 2n))).toEqual([]);
		expect(scene.event(sends(2n))).toMatchObject([
			{ waiter: 2, outcome: got },
			{ waiter: 3, outcome: { error: { code: "alreadyClaimed" } } },
		]);
	});

	test("a large one comes without its bytes", () => {
		const scene = new Scene();
		scene.event(sends(1n, 100_000n));
		expect(scene.step(receive(0, 1n))).toEqual([
			{ effect: "message", waiter: 0, outcome: { ok: { length: 100_000 } } },
		]);
	});

	test("a call waits no longer than its deadline", () => {
		const scene = new Scene();
		expect(scene.step(receive(0, 1n, 30))).toEqual([{ effect: "waitTimer", waiter: 0, ms: 30 }]);
		expect(scene.step({ input: "waitTimer", now: 1029, waiter: 0 })).toEqual([
			{ effect: "waitTimer", waiter: 0, ms: 1 },
		]);
		expect(scene.step({ input: "waitTimer", now: 1030, waiter: 0 })).toMatchObject([
			{ waiter: 0, outcome: { error: { code: "deadline" } } },
		]);
		expect(scene.event(sends(1n))).toEqual([]);
	});

	test("a call waits no longer than the application can send, and hears what ended it", () => {
		const scene = new Scene();
		scene.step(receive(0, 1n));
		const error = { code: "instanceMemoryFull", message: "512 MiB" } as const;
		expect(scene.event({ which: "sandboxExited", sandboxExited: { status: 0, signal: 9, error } })).toEqual([
			{ effect: "message", waiter: 0, outcome: { error } },
		]);
		expect(scene.step(receive(1, 2n))).toMatchObject([{ outcome: { error } }]);
		const alone = new Scene({ app: false });
		expect(alone.step(receive(0, 1n))).toMatchObject([{ outcome: { error: { code: "appExited" } } }]);
	});

	test("the script's end ends its calls", () => {
		const scene = new Scene();
		scene.step(receive(0, 1n));
		expect(scene.exit()).toContainEqual({
			effect: "message",
			waiter: 0,
			outcome: { error: { code: "cancelled", message: "the script has ended" } },
		});
	});

	test("a claim does not wait for a script that waits for the application", () => {
		const scene = new Scene();
		scene.ops({ op: "expectMsg", id: 8n });
		scene.claim(1n, 7n);
		scene.claim(2n, 8n);
		expect(decisions(scene.step(receive(0, 1n)))).toEqual(["1 miss"]);
		expect(decisions(scene.claim(3n, 9n))).toEqual(["3 miss"]);
		expect([...scene.state.claims.keys()]).toEqual([2n]);
		scene.event(sends(1n));
		expect(decisions(scene.claim(4n, 10n))).toEqual([]);
	});
});

describe("connections", () => {
	const address = "tcp://db:1";
	const none = { code: "ok", message: "" } as const;
	const reset = { code: "connectionReset", message: "closed" } as const;
	const handOver: ScriptOp[] = [
		{ op: "connect", conn: 1, address },
		{ op: "transferConn", id: 5n, address, conn: 1 },
	];
	const claimConn = (scene: Scene, claim: bigint, id = 5n): Effect[] =>
		scene.event({
			which: "claimed",
			claimed: { claim, id, content: address, diverges: "", deadlineMillis: 1000, connection: true },
		});

	test("what is handed over is the application's: the script cannot use it, or hand it over again", () => {
		const scene = new Scene();
		expect(submitted(scene.ops(...handOver)).map(({ which }) => which)).toEqual(["connect", "transfer"]);
		expect(
			scene.ops(
				{ op: "sendRpc", conn: 1, rpc: 1n, request },
				{ op: "transferConn", id: 6n, address, conn: 1 },
				{ op: "connect", conn: 1, address },
			),
		).toEqual([]);
		expect(scene.state.lines.map(({ text }) => text.split(":")[0])).toEqual(Array(3).fill("invalidArgument"));
		expect(scene.step({ input: "receive", now: 0, waiter: 0, rpc: 1n })).toMatchObject([
			{ outcome: { error: { code: "invalidArgument" } } },
		]);
	});

	test("a claim of one waits under the rules of messages, apart from their ids", () => {
		const scene = new Scene();
		scene.ops({ op: "expectMsg", id: 5n }, { op: "sendMsg", id: 5n, data: request });
		expect(claimConn(scene, 1n)).toEqual([{ effect: "timer", claim: 1n, ms: CLAIM_WAIT_MS }]);
		expect(decisions(scene.timer(1n, CLAIM_WAIT_MS))).toEqual(["1 miss"]);
		expect(submitted(scene.ops(...handOver)).map(({ which }) => which)).toEqual(["connect"]);
		expect(scene.state.lines[0]?.text).toContain("appOwns");
		expect(scene.state.connections.get(1)?.handedOver).toBe(false);
	});

	test("one that is announced, or handed over and not ready yet, is waited for", () => {
		const scene = new Scene();
		scene.ops({ op: "expect", count: 1 });
		expect(claimConn(scene, 1n)).toEqual([{ effect: "timer", claim: 1n, ms: 1000 }]);
		scene.ops(...handOver);
		expect(scene.event({ which: "connReady", connReady: { id: 5n, address, error: none } })).toEqual([]);
		const took: Facts = { which: "connTaken", connTaken: { id: 5n, address, kind: "socket", error: none } };
		scene.event(took);
		expect(scene.state.claims.size).toBe(0);
		expect(decisions(claimConn(scene, 2n))).toEqual(["2 alreadyClaimed"]);
	});

	test("one that the server has closed is an error, with its cause", () => {
		const scene = new Scene();
		scene.ops(...handOver);
		claimConn(scene, 1n);
		expect(
			decisions(scene.event({ which: "connReady", connReady: { id: 5n, address, error: reset } })),
		).toEqual(["1 connectionReset"]);
		expect(decisions(claimConn(scene, 2n))).toEqual(["2 connectionReset"]);
	});

	test("what the application hands over becomes the script's, once", () => {
		const scene = new Scene({ maxConnections: 2 });
		const get = (waiter: number, conn: number): Effect[] =>
			scene.step({ input: "getConn", now: 0, waiter, id: 5n, address, conn });
		expect(get(0, 1)).toEqual([]);
		expect(get(1, 1)).toMatchObject([{ outcome: { error: { code: "invalidArgument" } } }]);
		expect(scene.event({ which: "connOffered", connOffered: { id: 5n, address } })).toEqual([
			{ effect: "submit", op: { which: "adopt", adopt: { conn: 1, id: 5n, address } } },
			{ effect: "conn", waiter: 0, outcome: { ok: true } },
		]);
		expect(get(2, 2)).toMatchObject([{ outcome: { error: { code: "alreadyClaimed" } } }]);
		expect(submitted(scene.ops({ op: "sendRpc", conn: 1, rpc: 1n, request }))).toHaveLength(1);
	});

	test("what nobody took when its invocation ended is withdrawn, in both directions", () => {
		const scene = new Scene();
		scene.ops(...handOver);
		scene.event({ which: "connOffered", connOffered: { id: 6n, address } });
		const withdrawn = [
			{ which: "withdraw", withdraw: { id: 5n, address, ofApp: false } },
			{ which: "withdraw", withdraw: { id: 6n, address, ofApp: true } },
		];
		expect(submitted(scene.step({ input: "answered", now: 0 }))).toEqual(withdrawn);
		expect(submitted(scene.step({ input: "invocation", now: 0 }))).toEqual([{ which: "scriptEnded" }]);
		expect(decisions(claimConn(scene, 1n))).toEqual(["1 voided"]);
		expect(unclaimed(scene.state).map(({ id }) => id)).toEqual(["5", "6"]);
		// What the application offers to nobody.
		const offered = scene.event({ which: "connOffered", connOffered: { id: 7n, address } });
		expect(submitted(offered)).toEqual([{ which: "withdraw", withdraw: { id: 7n, address, ofApp: true } }]);
		expect(unclaimed(scene.state).map(({ id }) => id)).toEqual(["5", "6", "7"]);
	});

	test("a claim that waits when its invocation ends hears so; one taken at that moment was taken", () => {
		const scene = new Scene();
		scene.ops(...handOver);
		claimConn(scene, 1n);
		expect(decisions(scene.step({ input: "answered", now: 0 }))).toEqual(["1 voided"]);
		scene.event({ which: "connTaken", connTaken: { id: 5n, address, kind: "socket", error: none } });
		expect(unclaimed(scene.state)).toEqual([]);
		expect(decisions(claimConn(scene, 2n))).toEqual(["2 alreadyClaimed"]);
	});

	test("the framing is the script's to say: the application names the place alone", () => {
		const scene = new Scene();
		const framed = "tcp://Host:7?frame=line";
		scene.step({ input: "getConn", now: 0, waiter: 0, id: 5n, address: framed, conn: 1 });
		const offered = scene.event({ which: "connOffered", connOffered: { id: 5n, address: "tcp://host:7" } });
		expect(submitted(offered)).toEqual([{ which: "adopt", adopt: { conn: 1, id: 5n, address: framed } }]);
	});
});
