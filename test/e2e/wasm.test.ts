import { expect, test } from "vitest";
import { until } from "../../src/cli/node/wait.ts";
import { wat } from "../../src/isolates/test/wat.ts";
import { deployProbe, invoke } from "../harness/probe.ts";
import { runners } from "../harness/processes.ts";
import { useNode } from "../harness/suite.ts";

const main = "initscript.c";

const node = useNode(async (node) => {
	await deployProbe(node, { name: "fallback", isolation: "bubblewrap", main });
	await deployProbe(node, { name: "strict", isolation: "bubblewrap", main, onFailure: "fail" });
	await node.put("inputs", "a", "contents of a");
	await node.put("inputs", "b", "contents of b");
});

const gotA = { bytes: 13, head: "contents of a" };
const gotB = { bytes: 13, head: "contents of b" };

test("a trap leaves the application what was sent before it, and the rest to itself", async () => {
	await node().resetStore();
	const { status, steps, instance } = await invoke(node(), "fallback", {
		mode: "trap",
		app: [
			["download", "inputs", "a"],
			["download", "inputs", "b"],
		],
	});
	expect({ status, steps }).toMatchObject({ status: 200, steps: [gotA, gotB] });
	expect(await node().requests()).toEqual({ "GET inputs/a": 1, "GET inputs/b": 1 });
	const { script, scriptLines } = await node().ended(instance);
	expect(script).toMatchObject({ end: "trap", error: { code: "initscriptTrapped" } });
	expect(script?.stack).toMatch(/unreachable.*give_up.*headstart_main/s);
	expect(scriptLines.map(({ text }) => text)).toContain("about to trap");
});

test("a trap, with the policy fail, fails the invocation", async () => {
	const { status, body, instance } = await invoke(node(), "strict", {
		mode: "trap",
		app: [
			["sleep", 0.5],
			["download", "inputs", "b"],
		],
	});
	expect({ status, body }).toMatchObject({
		status: 502,
		body: {
			code: "initscriptTrapped",
			message: expect.stringContaining("unreachable"),
			hint: expect.any(String),
		},
	});
	expect(await node().ended(instance)).toMatchObject({
		state: "failed",
		error: { code: "initscriptTrapped" },
	});
});

test("a trap may come before the instance has begun, and is told all the same", async () => {
	for (let attempt = 0; attempt < 15; attempt++) {
		const { body } = await invoke(node(), "strict", { mode: "trap at once" }, "only=initscript");
		expect(body).toMatchObject({ end: "trap", error: { code: "initscriptTrapped" } });
		const app = await invoke(node(), "strict", { mode: "trap at once" });
		expect(app).toMatchObject({ status: 502, body: { code: "initscriptTrapped" } });
	}
});

test("bytes that the script read and wrote itself are received under their id, once", async () => {
	await node().resetStore();
	const { steps, instance } = await invoke(node(), "fallback", {
		mode: "summarise",
		app: [
			["receive", "summary"],
			["receive", "summary"],
		],
	});
	expect(steps).toMatchObject([{ head: "read: contents of a" }, { error: "alreadyClaimed" }]);
	expect(await node().requests()).toEqual({ "GET inputs/a": 1 });
	expect((await node().ended(instance)).script).toEqual({ end: "exit 0" });
});

test("a reply that is passed on in flight reaches the application after the script's end", async () => {
	await node().resetStore();
	await node().fault({ request: "GET inputs/a", kind: "slow", ms: 2_500 });
	const { steps, instance } = await invoke(node(), "fallback", {
		mode: "pass on",
		app: [["receive", "passed on"]],
	});
	expect(steps).toMatchObject([gotA]);
	const { script, events } = await node().ended(instance);
	expect(script).toEqual({ end: "exit 0" });
	const at = (wanted: string): number => events.findIndex(({ kind }) => kind === wanted);
	// Published, then claimed, both while its RPC was under way.
	expect(at("published")).toBeGreaterThan(0);
	expect(at("published")).toBeLessThan(at("invocationTaken"));
	expect(at("invocationTaken")).toBeLessThan(at("rpcDone"));
	expect(at("rpcDone")).toBeLessThan(at("served"));
});

test("what a script announces and never sends is a miss as soon as it has ended", async () => {
	const { steps, instance } = await invoke(node(), "fallback", {
		mode: "announce and leave",
		app: [
			["receive", "never"],
			["receive", "nor this"],
			["download", "inputs", "b"],
		],
	});
	expect(steps).toMatchObject([{ error: "miss" }, { error: "miss" }, gotB]);
	const { missed, script } = await node().ended(instance);
	expect(script).toEqual({ end: "exit 0" });
	expect(missed.map(({ code, content }) => [code, content])).toEqual([
		["miss", ""],
		["miss", ""],
		["miss", "GET s3://inputs/b"],
	]);
});

const MAIN = '(memory (export "memory") 1) (func (export "headstart_main"))';

const malformed: [string, Uint8Array, RegExp][] = [
	["that is none", Buffer.from("hello"), /not a WebAssembly module/],
	["with a start section", wat(`(module ${MAIN} (func $s) (start $s))`), /start section/],
	[
		"that needs WASI",
		wat(`(module (import "wasi_snapshot_preview1" "fd_write" (func)) ${MAIN})`),
		/without WASI/,
	],
	["without an entry", wat('(module (memory (export "memory") 1))'), /headstart_main/],
	[
		"with more memory than its limit",
		wat(`(module (memory (export "memory") 400) (func (export "headstart_main")))`),
		/memory: .* at most 16777216/,
	],
];

test.each(malformed)("a module %s is refused by deploy, with the reason", async (_, bytes, reason) => {
	const deployed = deployProbe(node(), {
		name: "malformed",
		isolation: "bubblewrap",
		main: "initscript.wasm",
		files: { "initscript.wasm": bytes },
	});
	await expect(deployed).rejects.toThrow(reason);
	expect((await node().client.send("/v1/functions/malformed")).status).toBe(404);
});

test.each(malformed)("a module %s is refused by the node, too", async (_, bytes, reason) => {
	const { bundle } = await node().client.json<{ bundle: string }>("/v1/functions/fallback");
	const answer = await node().client.send("/v1/functions/malformed", {
		method: "PUT",
		body: JSON.stringify({
			manifest: {
				name: "malformed",
				app: { isolation: "bubblewrap", command: ["true"] },
				initscript: { main: "initscript.wasm" },
			},
			bundle,
			initscript: { format: "wasm", bytes: Buffer.from(bytes).toString("base64") },
		}),
	});
	expect(answer.status).toBe(400);
	expect(await answer.json()).toMatchObject({
		code: "invalidArgument",
		message: expect.stringMatching(reason),
	});
	expect((await node().client.send("/v1/functions/malformed")).status).toBe(404);
});

test("a runner that dies while nobody uses it takes nothing from the starts that follow", async () => {
	const start = { mode: "summarise", app: [["receive", "summary"]] };
	await node().ended((await invoke(node(), "fallback", start)).instance);
	const [before] = await runners(node().node.run);
	process.kill(before ?? 0, "SIGKILL");
	await until("the next runner", 10_000, async () => {
		const [now] = await runners(node().node.run);
		return now !== undefined && now !== before ? now : undefined;
	});
	// As many as there may be spares, each of which had a session with the one that is dead.
	for (let number = 0; number < 4; number++) {
		const { steps, instance } = await invoke(node(), "fallback", start);
		expect(steps).toMatchObject([{ head: "read: contents of a" }]);
		const { script, events } = await node().ended(instance);
		expect(script).toEqual({ end: "exit 0" });
		expect(events.map(({ text }) => text)).not.toContain("initscript restarted");
	}
});
