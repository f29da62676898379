import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { deployProbe, type Isolation, invoke } from "../harness/probe.ts";
import { useNode } from "../harness/suite.ts";

const isolations: Isolation[] = ["bubblewrap", "gvisor"];

const node = useNode(async (node) => {
	for (const isolation of isolations) await deployProbe(node, { name: isolation, isolation });
	await deployProbe(node, { name: "brief", isolation: "bubblewrap", limits: { timeout: "500ms" } });
	await deployProbe(node, { name: "tight", isolation: "bubblewrap", limits: { event: "1KiB" } });
});

describe.each(isolations)("in %s", (name) => {
	test("the answer is the handler's", async () => {
		const { status, steps, instance } = await invoke(node(), name, { app: [["echo", { ünï: [1, null] }]] });
		expect({ status, steps }).toEqual({ status: 200, steps: [{ ünï: [1, null] }] });
		const record = await node().ended(instance);
		expect(record).toMatchObject({ function: name, state: "ended", mode: "normal", invocations: 1 });
		expect(record.events.map(({ kind }) => kind)).toEqual(
			expect.arrayContaining([
				"started",
				"sandboxCreated",
				"appConnected",
				"invocationTaken",
				"answerEnded",
				"ended",
			]),
		);
	});

	test("an answer is streamed", async () => {
		const began = Date.now();
		const answer = await node().client.ask(`/v1/functions/${name}/invocations?cold=1`, {
			method: "POST",
			body: JSON.stringify({ app: [["stream", 5, 50_000, 0.2]] }),
		});
		const firstAt = Date.now() - began;
		const text = await answer.text();
		expect(text).toBe("01234".replaceAll(/./g, (digit) => digit.repeat(50_000)));
		expect(Date.now() - began - firstAt).toBeGreaterThan(500);
		expect(answer.headers.get("server-timing")).toBeTruthy();
	});

	test("a handler that fails is a 502 with its code, and its lines are in the record", async () => {
		const { status, body, instance } = await invoke(node(), name, { app: [["fail", "no such luck"]] });
		expect({ status, code: body.code }).toEqual({ status: 502, code: "functionFailed" });
		expect(body.hint).toBeTruthy();
		const { events } = await node().ended(instance);
		expect(events.some(({ kind, text }) => kind === "log" && text?.includes("no such luck"))).toBe(true);
	});

	test("an application that leaves is a 502, and its instance is reaped", async () => {
		const { status, body, instance } = await invoke(node(), name, { app: [["exit", 3]] });
		expect({ status, code: body.code }).toEqual({ status: 502, code: "appExited" });
		const { events } = await node().ended(instance);
		expect(events.find(({ kind }) => kind === "sandboxExited")).toMatchObject({ status: 3 });
	});

	test("memory beyond the limit ends the application, with the reason", async () => {
		const { status, body } = await invoke(node(), name, { app: [["memory", 400]] });
		expect(status).toBeGreaterThanOrEqual(500);
		expect(["instanceMemoryFull", "appExited"]).toContain(body.code);
	});

	test("nothing but the egress list can be reached", async () => {
		const { steps } = await invoke(node(), name, {
			app: [
				["reach", "10.213.255.1", 22],
				["reach", "1.1.1.1", 80],
			],
		});
		expect(steps).not.toContain("connected");
	});
});

test("a slow handler gets functionTimeout", async () => {
	const { status, body } = await invoke(node(), "brief", { app: [["sleep", 5]] });
	expect({ status, code: body.code }).toEqual({ status: 504, code: "functionTimeout" });
});

test("a client that goes away cancels: the instance ends", async () => {
	const gone = new AbortController();
	const asked = node()
		.client.send("/v1/functions/bubblewrap/invocations?cold=1", {
			method: "POST",
			body: JSON.stringify({ app: [["stream", 1000, 1000, 0.05]] }),
			signal: gone.signal,
		})
		.then((answer) => answer.text());
	await sleep(1_000);
	const instance = (await node().live()).find((it) => it.function === "bubblewrap");
	gone.abort();
	await expect(asked).rejects.toThrow();
	expect(await node().ended(instance?.id ?? "")).toMatchObject({ error: { code: "cancelled" } });
	expect(await node().leaks()).toEqual([]);
	expect(node().lines.filter((line) => /AbortError|DOMException/.test(line))).toEqual([]);
});

test("the same body twice at once gives two answers", async () => {
	const event = {
		app: [
			["sleep", 0.2],
			["echo", "twice"],
		],
	};
	const both = await Promise.all([invoke(node(), "bubblewrap", event), invoke(node(), "bubblewrap", event)]);
	expect(both.map(({ steps }) => steps)).toEqual([
		[null, "twice"],
		[null, "twice"],
	]);
	expect(both[0]?.instance).not.toBe(both[1]?.instance);
});

test("a function that is not there is a 404 with a hint", async () => {
	const { status, body } = await invoke(node(), "nobody", {});
	expect({ status, body }).toMatchObject({
		status: 404,
		body: { code: "unknownFunction", hint: expect.any(String) },
	});
});

test("an event beyond its limit is a 413", async () => {
	const answer = await node().client.send("/v1/functions/tight/invocations", {
		method: "POST",
		body: Buffer.alloc(2 << 10, " "),
	});
	expect(answer.status).toBe(413);
	expect(await answer.json()).toMatchObject({ code: "payloadTooLarge" });
});

test("foreign origins and hosts are refused", async () => {
	const answer = await node().client.send("/v1/functions", { headers: { origin: "https://example.com" } });
	expect(answer.status).toBe(403);
});
