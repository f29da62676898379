/** An initscript that takes more than its reservation is ended and hears which limit it was; its neighbours go on. */
import { describe, expect, test } from "vitest";
import { wat } from "../../src/isolates/test/wat.ts";
import { deployProbe, invoke } from "../harness/probe.ts";
import { useNode } from "../harness/suite.ts";

const isolation = "bubblewrap";

/** A WASM script with this as its main function. */
const wasm = (body: string): { main: string; files: Record<string, Uint8Array> } => ({
	main: "initscript.wasm",
	files: {
		"initscript.wasm": wat(`(module (memory (export "memory") 1)
			(func (export "headstart_main") (result i32) ${body} (i32.const 0)))`),
	},
});

/** A TypeScript script with this as its main function. */
const script = (body: string): { files: Record<string, string> } => ({
	files: { "initscript.ts": `export default async function main(): Promise<void> { ${body} }` },
});

const node = useNode(async (node) => {
	await deployProbe(node, { name: "probe", isolation });
	await deployProbe(node, { name: "loop", isolation, ...wasm("(loop $again (br $again))") });
	const long = { cpu: "10m", deadline: "3s" };
	await deployProbe(node, {
		name: "long",
		isolation,
		scriptLimits: long,
		...wasm("(loop $again (br $again))"),
	});
	await deployProbe(node, { name: "stall", isolation, ...script("for (;;) {}") });
	await deployProbe(node, {
		name: "bomb",
		isolation,
		...script(`const all: unknown[] = [];
			for (;;) {
				all.push(new Array(2_000_000).fill(1.5));
				await new Promise((resolve) => setTimeout(resolve, 1));
			}`),
	});
	await node.put("inputs", "a", "contents of a");
});

const event = {
	script: [["get", "inputs", "a"]],
	app: [["download", "inputs", "a"]],
};
const answered = { status: 200, steps: [{ head: "contents of a" }] };

describe("a WASM script without end", () => {
	test("is ended when its CPU time is used up", async () => {
		const { status, instance } = await invoke(node(), "loop", { app: [["sleep", 1]] });
		expect(status).toBe(200);
		expect((await node().ended(instance)).script).toMatchObject({
			end: "limit",
			error: { code: "initscriptCpu", message: expect.stringMatching(/^cpu: 5\d\.\d ms of at most 50 ms/) },
		});
	});

	test("lets others run meanwhile", async () => {
		const long = invoke(node(), "long", { app: [["sleep", 3]] });
		await new Promise((resolve) => setTimeout(resolve, 300));
		for (let count = 0; count < 3; count += 1) {
			const { instance, ...answer } = await invoke(node(), "probe", event);
			expect(answer).toMatchObject(answered);
			expect((await node().ended(instance)).script).toEqual({ end: "exit 0" });
		}
		const { instance } = await long;
		expect((await node().ended(instance)).script).toMatchObject({ error: { code: "initscriptDeadline" } });
	});
});

describe("a TypeScript script", () => {
	test("without end ends its runner and hears of it; another that waits is run again", async () => {
		const waiting = invoke(node(), "probe", {
			script: [
				["sleep", 1_500],
				["get", "inputs", "a"],
			],
			app: [
				["sleep", 4],
				["download", "inputs", "a"],
			],
		});
		await new Promise((resolve) => setTimeout(resolve, 400));
		const { status, instance } = await invoke(node(), "stall", { app: [["sleep", 3]] });
		expect(status).toBe(200);
		expect((await node().ended(instance)).script).toMatchObject({
			end: "initscriptCpu",
			error: { code: "initscriptCpu", message: expect.stringMatching(/^cpu: /) },
		});
		const other = await waiting;
		expect(other).toMatchObject({ status: 200, steps: [null, { head: "contents of a" }] });
		expect((await node().ended(other.instance)).script).toEqual({ end: "exit 0" });
	});

	test("whose heap grows without end ends its runner and hears of it", async () => {
		const { status, instance } = await invoke(node(), "bomb", { app: [["sleep", 6]] });
		expect(status).toBe(200);
		expect((await node().ended(instance)).script).toMatchObject({
			end: "initscriptMemory",
			error: { code: "initscriptMemory", message: expect.stringMatching(/^memory: /) },
		});
		expect(await invoke(node(), "probe", event)).toMatchObject(answered);
	});
});
