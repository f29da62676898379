import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type BuiltInitscript, buildInitscript } from "../../build/index.ts";
import { mapStack } from "../../durable/transcript/stack.ts";
import type { ScriptExit } from "../protocol.ts";
import type { RecordedRun } from "./fixture/messages.ts";
import { Rig, type Script } from "./harness.ts";

const scripts = join(import.meta.dirname, "../../../initscripts/conformance");
const built = new Map<string, BuiltInitscript>();
let rig: Rig;

beforeAll(async () => {
	rig = await Rig.start();
	for (const file of ["calls.c", "calls.as.ts", "calls.ts"]) {
		built.set(file, await buildInitscript(join(scripts, file)));
	}
}, 60_000);

afterAll(() => rig?.stop());

describe.each(["calls.c", "calls.as.ts", "calls.ts"])("%s", (file) => {
	const run = (mode: string, replies = {}): Promise<RecordedRun> =>
		rig.run(scriptOf(file), { input: JSON.stringify({ mode }), replies });

	test("makes every call, with a huge id, and sees the reply", async () => {
		const { outcome, ops, batches } = await run("fetch", { "*": { status: 201, body: "a body" } });
		const end = exitOf(outcome);
		expect(end).toMatchObject({ end: "exit", status: 201 });
		expect([...ops, ...end.ops]).toEqual([
			{ op: "expect", count: 2 },
			{ op: "expectMsg", id: "7" },
			{ op: "connect", conn: 1, address: "s3://models" },
			{ op: "sendRpc", conn: 1, rpc: "18446744073709551615", request: "GET /x\n\n" },
			{ op: "sendMsg", id: "5", data: " body" },
			{ op: "sendReply", id: "6", rpc: "18446744073709551615" },
			{ op: "sendMsg", id: "7", data: '{"mode":"fetch"}' },
			{ op: "sendRpc", conn: 1, rpc: S3_ID, request: "GET /a%20b/%C3%A9%21.png\n\n" },
			{ op: "sendReply", id: S3_ID, rpc: S3_ID },
			{ op: "log", level: "info", text: "done" },
		]);
		// One batch before the script waits; the rest comes back with its end.
		expect(batches).toEqual([4]);
		expect(end.ops).toHaveLength(6);
	});

	test("reads a reply that is not inlined", async () => {
		const { outcome, ops, reads } = await run("fetch", { "*": { bytes: 40_001 } });
		const messages = [...ops, ...exitOf(outcome).ops] as { op: string; id?: string; data?: string }[];
		expect(messages.find((it) => it.op === "sendMsg" && it.id === "5")?.data).toBe("\x07".repeat(40_000));
		expect(reads).toBe(1);
	});

	test("exits early", async () => {
		expect(exitOf((await run("exit")).outcome)).toEqual({ ops: [], end: "exit", status: 3 });
	});

	test("may make 10,000 calls, which arrive in order", async () => {
		const { outcome, ops } = await run("many");
		const all = [...ops, ...exitOf(outcome).ops] as { id: string }[];
		expect(exitOf(outcome)).toMatchObject({ end: "exit", status: 0 });
		expect(all.map((it) => it.id)).toEqual(Array.from({ length: 10_000 }, (_, index) => String(index)));
	});

	test("is ended when it makes more", async () => {
		const { outcome, ops } = await run("too many");
		expect(exitOf(outcome)).toMatchObject({ end: "limit", error: { code: "initscriptLimit" } });
		expect([...ops, ...exitOf(outcome).ops]).toHaveLength(10_000);
	});

	test("leaves its calls and a stack when it traps", async () => {
		const { outcome, ops } = await run("trap");
		const end = exitOf(outcome);
		expect(end).toMatchObject({ end: "trap", error: { code: "initscriptTrapped" } });
		expect([...ops, ...end.ops]).toEqual([{ op: "log", level: "info", text: "about to trap" }]);
		if (end.end === "exit") throw new Error("it trapped");
		const script = built.get(file);
		if (script?.format === "js") {
			expect(mapStack(end.stack ?? "", script.sourceMap)).toMatch(
				/at trap \(calls\.ts:37:8\)\n +at main \(calls\.ts:46:23\)/,
			);
			expect(end.error.message).toBe("Error: as the test wants it");
		} else {
			expect(end.stack).toMatch(/wasm-function\[\d+\]:0x|headstart_main/);
			expect(end.error.message).toMatch(
				file === "calls.c" ? /unreachable/ : /as the test wants it \(.*calls\.as\.ts:\d+:\d+\)/,
			);
		}
	});
});

test("a failed reply is the script's to see", async () => {
	const replies = { "*": { error: "egressDenied" } };
	const input = JSON.stringify({ mode: "fetch" });
	expect(exitOf((await rig.run(scriptOf("calls.c"), { input, replies })).outcome)).toMatchObject({
		status: 23,
	});
	const thrown = exitOf((await rig.run(scriptOf("calls.ts"), { input, replies })).outcome);
	expect(thrown).toMatchObject({ end: "trap", error: { message: "ScriptFailure: as the test wants it" } });
});

/** FNV-1a 64 of "GET s3://models/a%20b/%C3%A9%21.png". */
const S3_ID = String(
	Array.from(Buffer.from("GET s3://models/a%20b/%C3%A9%21.png")).reduce(
		(hash, byte) => BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n),
		0xcbf29ce484222325n,
	),
);

function scriptOf(file: string): Script {
	const script = built.get(file);
	if (script === undefined) throw new Error(`${file} was not built`);
	return script.format === "wasm" ? { wasm: script.bytes } : { source: script.source };
}

function exitOf(outcome: RecordedRun["outcome"]): ScriptExit {
	if ("error" in outcome) throw new Error(outcome.error.message);
	return outcome.ok;
}
