/** The TypeScript client in workerd against the real bridge. */
import { env } from "cloudflare:workers";
import { expect, test } from "vitest";
import { HeadstartError } from "../../shared/error.ts";
import { Bridge, type FunctionSpec } from "../bridge.ts";
import { BridgeClient } from "../generated/bridge.ts";
import { Connection } from "../rpc/connection.ts";

const { BRIDGE } = env as unknown as { BRIDGE: Fetcher };

async function refusal(promise: Promise<unknown>): Promise<string> {
	try {
		await promise;
	} catch (error) {
		if (error instanceof HeadstartError) return error.code;
		throw error;
	}
	return "ok";
}

test("hello says what the node is", async () => {
	using bridge = Bridge.connect(BRIDGE);
	const info = await bridge.hello();
	expect(info.graceMillis).toBe(2000);
	expect(info.now).toBeGreaterThan(info.startedAt);
	expect(Math.abs(info.unixMillisAtZero + Number(info.now) / 1e6 - Date.now())).toBeLessThan(60_000);
});

test("another version of the protocol is a typed error", async () => {
	using connection = new Connection(BRIDGE.connect("control:1"));
	const { error } = await new BridgeClient(connection.bootstrap()).hello({ protocol: 99 }).result;
	expect(error.code).toBe("protocol");
});

test("a returned capability works before and after its call returns; released at once when it is disposed", async () => {
	using bridge = Bridge.connect(BRIDGE);
	const instance = bridge.createInstance("default");
	// Pipelined: neither the bootstrap nor the instance is there yet.
	const early = instance.snapshot();
	expect(await instance.id).toMatch(/^i-[a-z2-7]{20}$/);
	expect(JSON.parse(await early)).toBeTypeOf("object");
	expect(JSON.parse(await instance.snapshot())).toBeTypeOf("object");
	expect(await bridge.liveObjects()).toBe(1);
	const ended = instance.stop("the test is over");
	instance[Symbol.dispose]();
	await ended;
	expect(await bridge.liveObjects()).toBe(0);
});

test("a capability that is disposed before its call returns is released, too", async () => {
	using bridge = Bridge.connect(BRIDGE);
	const instance = bridge.createInstance("default");
	instance[Symbol.dispose]();
	const id = await instance.id;
	expect(await bridge.liveObjects()).toBe(0);
	expect(await refusal(instance.snapshot())).toBe("instanceClosed");
	const attached = await bridge.attach(id);
	expect(await bridge.liveObjects()).toBe(1);
	await attached.stop("the test is over");
	attached[Symbol.dispose]();
	expect(await bridge.liveObjects()).toBe(0);
});

test("a call that waits lets others pass, and ends with the event that it waits for", async () => {
	using bridge = Bridge.connect(BRIDGE);
	const instance = bridge.createInstance("default");
	await instance.id;
	const waiting = instance.events(0n, 10_000);
	for (let round = 0; round < 50; round++) await instance.snapshot();
	await instance.submit([{ which: "note", note: "grüß dich" }]);
	expect(await waiting.result).toMatchObject([{ seq: 1n, which: "noted", noted: "grüß dich" }]);
	expect(await instance.events(1n, 10).result).toEqual([]);
	await instance.stop("the test is over");
});

test("cancel ends a waiting call at once, and the connection goes on", async () => {
	using bridge = Bridge.connect(BRIDGE);
	const instance = bridge.createInstance("default");
	await instance.id;
	for (let round = 0; round < 20; round++) {
		const waiting = instance.events(0n, 60_000);
		waiting.cancel();
		expect(await refusal(waiting.result)).toBe("cancelled");
	}
	await instance.submit([{ which: "note", note: "still here" }]);
	expect(await instance.events(0n, 1000).result).toHaveLength(1);
	await instance.stop("the test is over");
});

test("expected failures are typed", async () => {
	using bridge = Bridge.connect(BRIDGE);
	expect(await refusal(bridge.attach("i-aaaaaaaaaaaaaaaaaaaa"))).toBe("unknownInstance");
	const instance = bridge.createInstance("default");
	expect(await refusal(instance.start("ab".repeat(32), "normal", 0n))).toBe("unknownFunction");
	expect(await refusal(instance.read(1n, 0n, 1))).not.toBe("ok");
	const send = {
		conn: 1,
		rpc: 1n,
		request: new Uint8Array(),
		timeoutMillis: 0,
		place: "",
		placeOffset: 0n,
		placeRoom: 0n,
	};
	expect(
		await refusal(
			instance.submit([
				{ which: "send", send },
				{ which: "send", send },
			]),
		),
	).toBe("rpcDuplicate");
	const function_: FunctionSpec = {
		digest: "ab".repeat(32),
		name: "x",
		tenant: "default",
		bundle: `sha256:${"00".repeat(32)}`,
		isolation: "zeppelin",
		base: "host",
		command: ["true"],
		env: [],
		limits: {
			memory: 1n << 26n,
			cpuMillis: 1000,
			pids: 10,
			timeoutMillis: 1000,
			results: 1n << 20n,
			rpcs: 1,
			connections: 1,
			messages: 1,
			rpcTimeoutMillis: 1000,
			eventBytes: 1024n,
			answerBytes: 1024n,
		},
		egress: [],
		secrets: [],
		marks: [],
		network: false,
		share: [],
		shareTtlMillis: 0,
		image: "",
		files: [],
	};
	expect(await refusal(bridge.putFunction(function_))).toMatch(
		/sandboxUnsupported|unknownBundle|invalidArgument/,
	);
	await instance.stop("the test is over");
});

test("many calls at once, many more than one after the other, and their ids are used again", async () => {
	using bridge = Bridge.connect(BRIDGE);
	const instance = bridge.createInstance("default");
	const notes = Array.from({ length: 200 }, (_, index) => `note ${index} ${"x".repeat(index * 40)}`);
	await Promise.all(notes.map((note) => instance.submit([{ which: "note", note }])));
	const seen: string[] = [];
	for (let after = 0n; seen.length < notes.length; after = BigInt(seen.length)) {
		const events = await instance.events(after, 1000).result;
		for (const event of events) if (event.which === "noted") seen.push(event.noted);
	}
	expect(seen).toEqual(notes);
	await instance.stop("the test is over");
});

test("loss of the connection ends all that waits with bridgeLost; what comes after it, too", async () => {
	const bridge = Bridge.connect(BRIDGE);
	const instance = bridge.createInstance("default");
	const id = await instance.id;
	const waiting = instance.events(0n, 60_000);
	bridge[Symbol.dispose]();
	expect(await refusal(waiting.result)).toBe("bridgeLost");
	expect(await refusal(instance.snapshot())).toBe("bridgeLost");
	expect((await bridge.closed).code).toBe("bridgeLost");

	// The bridge keeps the instance for a while, but none of the stream's objects.
	using next = Bridge.connect(BRIDGE);
	const kept = await next.attach(id);
	expect(JSON.parse(await kept.snapshot())).toBeTypeOf("object");
	await kept.stop("the test is over");
});

test("within a second of a stream's end the bridge has let go of it; the instance ends after the grace", async () => {
	// Those of the streams before.
	await expect.poll(() => gauge("live_objects"), { timeout: 1000, interval: 20 }).toBe(0);
	const bridge = Bridge.connect(BRIDGE);
	const id = await bridge.createInstance("default").id;
	await bridge.createInstance("default").id;
	const { graceMillis } = await bridge.hello();
	expect(await gauge("live_objects")).toBe(2);
	bridge[Symbol.dispose]();
	await expect.poll(() => gauge("live_objects"), { timeout: 1000, interval: 20 }).toBe(0);

	await scheduler.wait(graceMillis + 500);
	// What has ended can be asked for a little longer: its last events tell why.
	using next = Bridge.connect(BRIDGE);
	const events = await (await next.attach(id)).events(0n, 1000).result;
	expect(events.at(-1)).toMatchObject({
		which: "ended",
		ended: { reason: expect.stringContaining("nobody attached") },
	});
});

/** A number of the bridge's /metrics. */
async function gauge(name: string): Promise<number> {
	const answer = await BRIDGE.fetch("http://bridge/metrics");
	const value = new RegExp(`^headstart_bridge_${name} (\\d+)$`, "m").exec(await answer.text())?.[1];
	return Number(value ?? Number.NaN);
}
