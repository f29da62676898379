import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EXPECTED_ERRORS, errorNames } from "../../../test/harness/conformance.ts";
import { type BuiltInitscript, buildInitscript } from "../../build/index.ts";
import { mapStack } from "../../durable/transcript/stack.ts";
import type { ScriptExit } from "../protocol.ts";
import { fnv1a64 } from "../script/id.ts";
import type { RecordedRun, RunRequest } from "./fixture/messages.ts";
import { Rig, type Script } from "./harness.ts";

const FILES = ["calls.c", "calls.as.ts", "calls.rs", "calls.ts"];
const scripts = join(import.meta.dirname, "../../../initscripts/conformance");
const built = new Map<string, BuiltInitscript>();
let rig: Rig;

beforeAll(async () => {
	rig = await Rig.start();
	for (const file of FILES) {
		built.set(file, await buildInitscript(join(scripts, file)));
	}
}, 60_000);

afterAll(() => rig?.stop());

describe.each(FILES)("%s", (file) => {
	const run = (mode: string, replies = {}, more: Partial<RunRequest> = {}): Promise<RecordedRun> =>
		rig.run(scriptOf(file), { input: JSON.stringify({ mode, address: "tcp://db:1" }), replies, ...more });

	test("makes every call, with a huge id, and sees the reply", async () => {
		const { outcome, ops, batches } = await run("fetch", { "*": { status: 201, body: "a body" } });
		const end = exitOf(outcome);
		expect(end).toMatchObject({ end: "exit", status: 201 });
		expect([...ops, ...end.ops]).toEqual([
			{ op: "expect", count: 2 },
			{ op: "expectMsg", id: "7" },
			{ op: "connect", conn: 1, address: "s3://inputs" },
			{ op: "sendRpc", conn: 1, rpc: "18446744073709551615", request: "GET /x\n\n" },
			{ op: "sendMsg", id: "5", data: " body" },
			{ op: "sendReply", id: "6", rpc: "18446744073709551615" },
			{ op: "sendMsg", id: "7", data: '{"mode":"fetch","address":"tcp://db:1"}' },
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

	test("says where replies go", async () => {
		const { ops, outcome } = await run("place");
		const to = { place: "file:/tmp/shared", offset: 4096, room: 100 };
		const id = String(fnv1a64("GET s3://inputs/x"));
		expect([...ops, ...exitOf(outcome).ops]).toEqual([
			{ op: "expect", count: 2 },
			{ op: "connect", conn: 1, address: "s3://inputs" },
			{ op: "sendRpc", conn: 1, rpc: id, request: "GET /x\n\n", to },
			{ op: "sendReply", id, rpc: id },
			{ op: "sendRpc", conn: 1, rpc: "1", request: "GET /x\n\n", to: { ...to, offset: 4195, room: 0 } },
			{ op: "sendReply", id: "1", rpc: "1" },
		]);
	});

	test("receives a message, also a large one, and says how long it waits", async () => {
		const id = String(fnv1a64("question"));
		const answer = { op: "sendMsg", id: String(fnv1a64("answer")) };
		const small = await run("echo", {}, { messages: { [id]: { body: "why?" } } });
		expect(small.waits).toEqual([`recvMsg ${id} within 5000`]);
		expect([...small.ops, ...exitOf(small.outcome).ops]).toEqual([
			{ op: "expect", count: 1 },
			{ ...answer, data: "why?" },
		]);
		const large = await run("echo", {}, { messages: { [id]: { bytes: 40_000 } } });
		expect(exitOf(large.outcome).ops).toEqual([{ ...answer, data: "\x08".repeat(40_000) }]);
		expect(large.reads).toBe(1);
	});

	test("hands a connection over, and takes one", async () => {
		const over = await run("hand over");
		expect([...over.ops, ...exitOf(over.outcome).ops]).toEqual([
			{ op: "expect", count: 1 },
			{ op: "connect", conn: 1, address: "tcp://db:1?frame=line" },
			{ op: "sendRpc", conn: 1, rpc: "1", request: "one" },
			{ op: "transferConn", id: "1", address: "tcp://db:1", conn: 1 },
		]);
		const taken = await run("take over");
		expect(taken.waits).toEqual(["getConn 2 tcp://db:1?frame=line as 2 within 5000"]);
		expect([...taken.ops, ...exitOf(taken.outcome).ops].slice(-2)).toEqual([
			{ op: "sendRpc", conn: 2, rpc: "1", request: "taken", timeoutMs: 5000 },
			{ op: "sendReply", id: String(fnv1a64("said")), rpc: "1" },
		]);
	});

	test("sees what each wrong call fails with", async () => {
		const { outcome, ops } = await run("fail");
		const told = [...ops, ...exitOf(outcome).ops].at(-1) as { data?: string };
		expect(errorNames(told.data ?? "")).toEqual(EXPECTED_ERRORS);
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
				/at trap \(calls\.ts:130:8\)\n +at main \(calls\.ts:145:23\)/,
			);
			expect(end.error.message).toBe("Error: as the test wants it");
		} else {
			expect(end.stack).toMatch(/wasm-function\[\d+\]:0x|headstart_main/);
			expect(end.error.message).toMatch(
				file !== "calls.as.ts" ? /unreachable/ : /as the test wants it \(.*calls\.as\.ts:\d+:\d+\)/,
			);
		}
	});
});

test("a failed reply is the script's to see", async () => {
	const replies = { "*": { error: "egressDenied" } };
	const input = JSON.stringify({ mode: "fetch" });
	for (const file of ["calls.c", "calls.rs"]) {
		expect(exitOf((await rig.run(scriptOf(file), { input, replies })).outcome)).toMatchObject({ status: 23 });
	}
	const thrown = exitOf((await rig.run(scriptOf("calls.ts"), { input, replies })).outcome);
	expect(thrown).toMatchObject({ end: "trap", error: { message: "ScriptFailure: as the test wants it" } });
});

const S3_ID = String(fnv1a64("GET s3://inputs/a%20b/%C3%A9%21.png"));

function scriptOf(file: string): Script {
	const script = built.get(file);
	if (script === undefined) throw new Error(`${file} was not built`);
	return script.format === "wasm" ? { wasm: script.bytes } : { source: script.source };
}

function exitOf(outcome: RecordedRun["outcome"]): ScriptExit {
	if ("error" in outcome) throw new Error(outcome.error.message);
	return outcome.ok;
}
