import { describe, expect, test } from "vitest";
import { deployProbe, type Isolation, invoke } from "../harness/probe.ts";
import { useNode } from "../harness/suite.ts";

const isolations: Isolation[] = ["bubblewrap", "gvisor"];
const big = Buffer.alloc(3 << 20, "big ");

/** Gives its RPC less time than the store takes. */
const LATE = String.raw`
import { connect, deadline, log, recvRpcReply, sendReply, sendRpc } from "headstart";

export default async function main(): Promise<void> {
	deadline(300);
	const inputs = connect("s3://inputs");
	sendRpc(inputs, 1n, "GET /a\n\n");
	sendReply("late", 1n);
	await recvRpcReply(inputs, 1n).catch((error) => log(error.code));
}
`;

const node = useNode(async (node) => {
	for (const isolation of isolations) await deployProbe(node, { name: isolation, isolation });
	await deployProbe(node, { name: "strict", isolation: "bubblewrap", onFailure: "fail" });
	await deployProbe(node, { name: "narrow", isolation: "bubblewrap", scriptLimits: { results: "1MiB" } });
	await deployProbe(node, { name: "hasty", isolation: "bubblewrap", scriptLimits: { deadline: "300ms" } });
	await deployProbe(node, {
		name: "punctual",
		isolation: "bubblewrap",
		main: "late.ts",
		files: { "late.ts": LATE },
	});
	await node.put("inputs", "a", "contents of a");
	await node.put("inputs", "b", "contents of b");
	await node.put("inputs", "big", big);
	await node.put("private", "x", "not for you");
});

const gotA = { bytes: 13, head: "contents of a" };
const gotB = { bytes: 13, head: "contents of b" };

describe.each(isolations)("in %s", (name) => {
	test("what the initscript fetched is the application's without another request", async () => {
		await node().resetStore();
		const { steps, instance } = await invoke(node(), name, {
			script: [
				["expect", 2],
				["get", "inputs", "a"],
				["get", "inputs", "big"],
			],
			app: [
				["download", "inputs", "a"],
				["download", "inputs", "big"],
			],
		});
		expect(steps).toMatchObject([gotA, { bytes: big.length }]);
		expect(await node().requests()).toEqual({ "GET inputs/a": 1, "GET inputs/big": 1 });
		const record = await node().ended(instance);
		expect(record).toMatchObject({ script: { end: "exit 0" }, unclaimed: [], missed: [], divergences: 0 });
		expect(record.events.filter(({ kind }) => kind === "called")).toEqual([]);
	});

	test("what it did not fetch the bridge does, and the record says what came near", async () => {
		const { steps, instance } = await invoke(node(), name, {
			script: [["get", "inputs", "a"]],
			app: [["download", "inputs", "b"]],
		});
		expect(steps).toMatchObject([gotB]);
		const record = await node().ended(instance);
		expect(record.missed).toMatchObject([{ content: "GET s3://inputs/b", nearest: "GET s3://inputs/a" }]);
		expect(record.unclaimed).toMatchObject([{ content: "GET s3://inputs/a", bytes: 13 }]);
	});

	test("without its initscript the application gives the same answer", async () => {
		const event = { script: [["get", "inputs", "a"]], app: [["download", "inputs", "a"]] };
		const { steps } = await invoke(node(), name, event, "cold=1&mode=noInitscript");
		expect(steps).toMatchObject([gotA]);
	});
});

describe("an initscript that", () => {
	const cases: [string, unknown[][], string][] = [
		["throws", [["throw", "oh no"]], "trap"],
		["sends nothing", [], "exit 0"],
		[
			"exits early",
			[
				["exit", 7],
				["get", "inputs", "a"],
			],
			"exit 7",
		],
		[
			"never sends what it announced",
			[
				["expect", 3],
				["get", "inputs", "b"],
			],
			"exit 0",
		],
		["fetches what the egress list does not have", [["get", "private", "x"]], "exit 0"],
	];
	test.each(cases)("%s leaves the application to itself", async (_, script, end) => {
		const { status, steps, instance } = await invoke(node(), "bubblewrap", {
			script,
			app: [["download", "inputs", "a"]],
		});
		expect({ status, steps }).toMatchObject({ status: 200, steps: [gotA] });
		expect((await node().ended(instance)).script?.end).toBe(end);
	});

	test("throws, with its policy fail, fails the invocation", async () => {
		const { status, body } = await invoke(node(), "strict", {
			script: [["throw", "oh no"]],
			app: [
				["sleep", 0.5],
				["download", "inputs", "a"],
			],
		});
		expect({ status, code: body.code }).toEqual({ status: 502, code: "initscriptTrapped" });
	});

	test("throws is in the record with its stack in TypeScript", async () => {
		const { instance } = await invoke(node(), "bubblewrap", { script: [["throw", "oh no"]] });
		const { script } = await node().ended(instance);
		expect(script?.error?.message).toContain("oh no");
		expect(script?.stack).toMatch(/initscript\.ts:\d+/);
	});

	test("takes too long ends at its deadline", async () => {
		const { steps, instance } = await invoke(node(), "hasty", {
			script: [["sleep", 5000]],
			app: [
				["download", "inputs", "a"],
				["sleep", 0.6],
			],
		});
		expect(steps).toMatchObject([gotA, null]);
		expect((await node().ended(instance)).script).toMatchObject({
			end: "deadline",
			error: { code: "initscriptDeadline" },
		});
	});

	test("spins does not stop others", async () => {
		const spinning = invoke(node(), "hasty", { script: [["spin"]], app: [["download", "inputs", "a"]] });
		const other = await invoke(node(), "bubblewrap", { app: [["download", "inputs", "b"]] });
		expect(other.steps).toMatchObject([gotB]);
		expect((await spinning).steps).toMatchObject([gotA]);
	});

	test("fetches more than its limit gets instanceMemoryFull, and the application is told", async () => {
		const { status, steps } = await invoke(node(), "narrow", {
			script: [["get", "inputs", "big"]],
			app: [
				["download", "inputs", "a"],
				["download", "inputs", "big"],
			],
		});
		expect(status).toBe(200);
		expect(steps).toMatchObject([gotA, { error: expect.any(String) }]);
	});
});

test("a deadline ends an RPC, the call that waits for it, and the message that carries it", async () => {
	await node().resetStore();
	await node().fault({ request: "GET inputs/a", kind: "slow", ms: 4_000 });
	const { steps, instance } = await invoke(node(), "punctual", {
		app: [
			// Its script begins later where one that spun has just ended their runner.
			["sleep", 1.5],
			["receive", "late"],
		],
	});
	expect(steps).toEqual([null, { error: "rpcTimeout" }]);
	const { events, scriptLines } = await node().ended(instance);
	await node().resetStore();
	expect(events.find(({ kind }) => kind === "rpcDone")).toMatchObject({ error: { code: "rpcTimeout" } });
	expect(scriptLines).toMatchObject([{ text: expect.stringMatching(/^(deadline|rpcTimeout)$/) }]);
});

describe("a store that", () => {
	test("lacks the object: the application gets NotFound", async () => {
		const { steps } = await invoke(node(), "bubblewrap", {
			script: [["get", "inputs", "nothing"]],
			app: [["download", "inputs", "nothing"]],
		});
		expect(steps).toEqual([{ error: "NotFound" }]);
	});

	test("answers 403: the application gets Forbidden", async () => {
		await node().fault({ request: "GET inputs/a", kind: "status", status: 403, times: 5 });
		const { steps } = await invoke(node(), "bubblewrap", {
			script: [["get", "inputs", "a"]],
			app: [["download", "inputs", "a"]],
		});
		await node().resetStore();
		expect(steps).toEqual([{ error: "Forbidden" }]);
	});

	test.each(["reset", "short"] as const)("breaks off (%s): the bridge asks again", async (kind) => {
		await node().resetStore();
		await node().fault({ request: "GET inputs/big", kind, after: 100_000 });
		const { steps } = await invoke(node(), "bubblewrap", {
			script: [["get", "inputs", "big"]],
			app: [["download", "inputs", "big"]],
		});
		expect(steps).toMatchObject([{ bytes: big.length }]);
		expect(await node().requests()).toEqual({ "GET inputs/big": 2 });
	});

	test("breaks off always: an error, and the application goes on", async () => {
		await node().fault({ request: "GET inputs/big", kind: "short", after: 1000, times: 100 });
		const { status, steps } = await invoke(node(), "bubblewrap", {
			script: [["get", "inputs", "big"]],
			app: [
				["download", "inputs", "big"],
				["download", "inputs", "a"],
			],
		});
		await node().resetStore();
		expect({ status, steps }).toMatchObject({ status: 200, steps: [{ error: expect.any(String) }, gotA] });
	});

	test("sends more than it announced: the announced bytes, and the next request is not disturbed", async () => {
		await node().fault({ request: "GET inputs/a", kind: "long" });
		const { steps } = await invoke(node(), "bubblewrap", {
			script: [
				["get", "inputs", "a"],
				["get", "inputs", "b"],
			],
			app: [
				["download", "inputs", "a"],
				["download", "inputs", "b"],
			],
		});
		expect(steps).toMatchObject([gotA, gotB]);
	});
});

test("the application reads its own writes", async () => {
	await node().put("results", "out", "old");
	const { steps } = await invoke(node(), "bubblewrap", {
		app: [
			["upload", "results", "out", "new"],
			["download", "results", "out"],
		],
	});
	expect(steps).toMatchObject([null, { head: "new" }]);
	expect(await node().get("results", "out")).toBe("new");
});

test("an application that leaves before it reads: what was fetched is given back", async () => {
	const { status, instance } = await invoke(node(), "bubblewrap", {
		script: [["get", "inputs", "big"]],
		app: [["exit", 0]],
	});
	expect(status).toBe(502);
	await node().ended(instance);
	expect(await node().leaks()).toEqual([]);
});
