import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ScriptExit } from "../protocol.ts";
import type { RecordedRun, RunRequest } from "./fixture/messages.ts";
import { Rig, type Script } from "./harness.ts";
import { declare, script, wat } from "./wat.ts";

let rig: Rig;
beforeAll(async () => {
	rig = await Rig.start();
}, 30_000);
afterAll(() => rig?.stop());

/** ErrorCode.invalidArgument, payloadTooLarge and rpcUnknown, as an i32 that is an exit status. */
const INVALID = 2 ** 32 - 2;
const TOO_LARGE = 2 ** 32 - 7;
const RPC_UNKNOWN = 2 ** 32 - 31;

const run = (it: Script, options: Omit<RunRequest, "digest"> = {}): Promise<RecordedRun> =>
	rig.run(it, options);
const status = async (wasm: Uint8Array, options = {}): Promise<unknown> => {
	const end = exitOf((await run({ wasm }, options)).outcome);
	return end.end === "exit" ? end.status : end;
};

describe("pointers and lengths of a module", () => {
	test.each([
		["(call $connect (i32.const -1) (i32.const 11))", INVALID],
		["(call $connect (i32.const 65530) (i32.const 7))", INVALID],
		["(call $connect (i32.const 0) (i32.const -1))", TOO_LARGE],
		["(call $connect (i32.const 65536) (i32.const 0))", 1],
		["(call $connect (i32.const 65537) (i32.const 0))", INVALID],
		["(call $log (i32.const 11) (i32.const 1))", INVALID], // not UTF-8
		["(call $sendMsg (i64.const 1) (i32.const 65000) (i32.const 1000))", INVALID],
		["(call $input (i32.const -16) (i32.const 64))", INVALID],
		["(call $input (i32.const 0) (i32.const -1))", INVALID],
		["(call $sendRpc (i32.const 1) (i64.const 1) (i32.const 0) (i32.const 4))", INVALID], // no such connection
		["(call $recvRpcReply (i32.const 1) (i64.const 1) (i32.const 0))", INVALID],
		["(call $readMsg (i64.const 1) (i32.const 0) (i32.const 65530) (i32.const 7))", INVALID],
		["(call $readMsg (i64.const 1) (i32.const 0) (i32.const 0) (i32.const 7))", INVALID], // not received
		["(call $getConn (i64.const 1) (i32.const -1) (i32.const 11))", INVALID],
		["(call $transferConn (i64.const 1) (i32.const 0) (i32.const 11) (i32.const 1))", INVALID], // no such connection
	])("%s", async (body, expected) => {
		const known = ["connect", "log", "sendMsg", "input", "sendRpc", "recvRpcReply"] as const;
		const imports = declare(...known, "readMsg", "getConn", "transferConn");
		expect(await status(script(imports, body, "s3://models\\ff"))).toBe(expected);
	});

	test("of results that come later are checked too", async () => {
		const body = `
			(drop (call $connect (i32.const 0) (i32.const 11)))
			(drop (call $sendRpc (i32.const 1) (i64.const 1) (i32.const 0) (i32.const 4)))
			(call $recvRpcReply (i32.const 1) (i64.const 1) (i32.const 65532))`;
		expect(await status(script(declare("connect", "sendRpc", "recvRpcReply"), body, "s3://models"))).toBe(
			INVALID,
		);
	});

	test("a reply offset behind the reply, and an RPC that was not sent", async () => {
		const imports = declare("connect", "sendRpc", "readReply");
		const send = `
			(drop (call $connect (i32.const 0) (i32.const 11)))
			(drop (call $sendRpc (i32.const 1) (i64.const 1) (i32.const 0) (i32.const 4)))`;
		const read = (rpc: number, offset: number): string =>
			`${send} (call $readReply (i64.const ${rpc}) (i32.const ${offset}) (i32.const 0) (i32.const 4))`;
		const replies = { "*": { body: "hello" } };
		expect(await status(script(imports, read(1, 6), "s3://models"), { replies })).toBe(INVALID);
		expect(await status(script(imports, read(1, -1), "s3://models"), { replies })).toBe(INVALID);
		expect(await status(script(imports, read(1, 1), "s3://models"), { replies })).toBe(4);
		expect(await status(script(imports, read(2, 0), "s3://models"), { replies })).toBe(RPC_UNKNOWN);
	});
});

describe("modules that cannot run are refused with the reason", () => {
	test.each<[string, Uint8Array, RegExp]>([
		["nothing", new Uint8Array(), /not a WebAssembly module/],
		["empty", new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]), /no memory/],
		["unknown import", wat('(module (import "env" "system" (func (param i32))))'), /"env"\."system"/],
		["invalid code", invalidCode(), /CompileError/],
	])("%s", async (_, wasm, reason) => {
		expect(await rig.load({ wasm })).toEqual({
			error: { code: "invalidArgument", message: expect.stringMatching(reason) },
		});
	});

	test("a bundle with a syntax error, without a main function, or that throws", async () => {
		const load = async (source: string): Promise<string> => {
			const loaded = await rig.load({ source });
			return "error" in loaded ? loaded.error.message : "loaded";
		};
		expect(await load("export default function main( {")).toMatch(/SyntaxError/);
		expect(await load("export const x = 1;")).toMatch(/export default async function main/);
		expect(await load('throw new Error("at the top");')).toMatch(/at the top/);
		expect(await load('import "elsewhere"; export default () => {};')).toMatch(/elsewhere/);
	});

	test("a digest that is another's", async () => {
		const other = await rig.runDigest("0".repeat(64));
		expect(other.outcome).toMatchObject({ error: { code: "unknownModule" } });
	});
});

describe("limits", () => {
	const waiting = `
		(drop (call $connect (i32.const 0) (i32.const 11)))
		(drop (call $sendRpc (i32.const 1) (i64.const 1) (i32.const 0) (i32.const 4)))
		(drop (call $recvRpcReply (i32.const 1) (i64.const 1) (i32.const 0)))
		(drop (call $expectMsg (i64.const 77)))
		(i32.const 0)`;
	const imports = declare("connect", "sendRpc", "recvRpcReply", "expectMsg");

	test("a deadline ends a script that waits; nothing of it comes later", async () => {
		for (const it of [
			{ wasm: script(imports, waiting, "s3://models") },
			{
				source: `import { connect, sendRpc, recvRpcReply, expectMsg } from "headstart";
				export default async () => { const c = connect("a"); sendRpc(c, 1n, "x"); await recvRpcReply(c, 1n); expectMsg(77n); }`,
			},
		]) {
			const recorded = await run(it, { deadlineMs: 60, replies: { "*": { delayMs: 200 } }, lingerMs: 400 });
			expect(exitOf(recorded.outcome)).toMatchObject({
				end: "deadline",
				error: { code: "initscriptDeadline" },
			});
			expect(recorded.ops).toHaveLength(2);
			expect(recorded.late).toBe(0);
		}
	});

	test("a module gets no more memory than its limit", async () => {
		const grow = (maximum: string): Uint8Array =>
			wat(`(module (memory (export "memory") 1 ${maximum})
				(func (export "headstart_main") (result i32) (memory.grow (i32.const 31)) (drop) (memory.grow (i32.const 1))))`);
		expect(await status(grow(""), { memoryBytes: 32 * 65_536 })).toBe(2 ** 32 - 1);
		expect(await status(grow("1000"), { memoryBytes: 32 * 65_536 })).toBe(2 ** 32 - 1);
		expect(await status(grow(""), { memoryBytes: 33 * 65_536 })).toBe(32);
		expect(await status(grow(""), { memoryBytes: 1000 })).toMatchObject({ end: "limit" });
	});

	test("a request of more than 1 MiB", async () => {
		const source = `import { connect, sendRpc } from "headstart";
			export default () => { sendRpc(connect("a"), 1n, new Uint8Array((1 << 20) + 1)); }`;
		const end = exitOf((await run({ source })).outcome);
		expect(end).toMatchObject({ end: "trap", error: { message: expect.stringMatching(/1048577 bytes/) } });
	});

	test("a script with many waiting calls", async () => {
		const source = `import { connect, sendRpc, recvRpcReply } from "headstart";
			export default async () => {
				const c = connect("a");
				const ids = Array.from({ length: 500 }, (_, i) => BigInt(i));
				for (const id of ids) sendRpc(c, id, "x");
				const replies = await Promise.all(ids.map((id) => recvRpcReply(c, id)));
				return replies.length & 0xff;
			}`;
		const end = exitOf((await run({ source }, { replies: { "*": { delayMs: 5 } } })).outcome);
		expect(end).toMatchObject({ end: "exit", status: 500 & 0xff });
	});
});

describe("fuel", () => {
	const endless = script("", "(loop $again (br $again)) (i32.const 0)");
	const cpuEnd = {
		end: "limit",
		error: { code: "initscriptCpu", message: expect.stringMatching(/^cpu: 5\d\.\d ms of at most 50 ms/) },
	};

	test.each<[string, string]>([
		["an endless loop", "(loop $again (br $again)) (i32.const 0)"],
		["an endless loop of calls", "(loop $again (drop (call $empty)) (br $again)) (i32.const 0)"],
		[
			"a storm of fills",
			"(loop $again (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536)) (br $again)) (i32.const 0)",
		],
		[
			"a storm of copies",
			"(loop $again (memory.copy (i32.const 0) (i32.const 1) (i32.const 65535)) (br $again)) (i32.const 0)",
		],
		[
			"asking for memory without end",
			"(loop $again (drop (memory.grow (i32.const 1))) (br $again)) (i32.const 0)",
		],
		[
			"a storm of table fills",
			"(loop $again (table.fill $t (i32.const 0) (ref.func $empty) (i32.const 60000)) (br $again)) (i32.const 0)",
		],
		[
			"calls that fail, without end",
			"(loop $again (drop (call $connect (i32.const -1) (i32.const 9))) (br $again)) (i32.const 0)",
		],
		[
			"reading the input without end",
			"(loop $again (drop (call $input (i32.const 0) (i32.const 60000))) (br $again)) (i32.const 0)",
		],
	])("ends %s", async (_, body) => {
		const wasm = wat(`(module ${declare("connect", "input")} (memory (export "memory") 1 4)
			(table $t 60000 60000 funcref) (elem declare func $empty)
			(func $empty (result i32) (i32.const 1))
			(func (export "headstart_main") (result i32) ${body}))`);
		const { outcome } = await run({ wasm }, { input: "x".repeat(60_000) });
		expect(exitOf(outcome)).toMatchObject(cpuEnd);
	});

	test("ends recursion, or the stack does", async () => {
		const wasm = wat(`(module (memory (export "memory") 1 4)
			(func $f (result i32) (i32.add (call $f) (call $f)))
			(func (export "headstart_main") (result i32) (call $f)))`);
		expect(exitOf((await run({ wasm })).outcome)).toMatchObject({
			end: "trap",
			error: { message: expect.stringMatching(/RangeError: Maximum call stack size/) },
		});
	});

	test("lets a neighbour run, and the deadline come", async () => {
		const neighbour = { wasm: script("", "(i32.const 5)") };
		await run(neighbour);
		const began = performance.now();
		const loop = run({ wasm: endless }, { cpuMs: 600_000, deadlineMs: 1_000 });
		const times: number[] = [];
		while (performance.now() - began < 700) {
			const before = performance.now();
			expect(exitOf((await run(neighbour)).outcome)).toMatchObject({ status: 5 });
			times.push(performance.now() - before);
		}
		times.sort((a, b) => a - b);
		expect(times[times.length >> 1]).toBeLessThan(40);
		expect(exitOf((await loop).outcome)).toMatchObject({ end: "deadline" });
	});

	test("is not run without", async () => {
		expect(await rig.loadAsIs({ wasm: endless })).toMatchObject({
			error: { message: expect.stringMatching(/not metered/) },
		});
	});

	test("is metered where it is handed over as it was built", async () => {
		const { outcome } = await rig.runPulled({ wasm: endless });
		expect(exitOf(outcome)).toMatchObject(cpuEnd);
		const again = await rig.runPulled({ wasm: endless }, { cpuMs: 10 });
		expect(exitOf(again.outcome)).toMatchObject({ error: { code: "initscriptCpu" } });
		const none = { wasm: new Uint8Array([1, 2, 3]) };
		expect(await rig.handOver(none)).toBe(422);
		const { outcome: refused } = await rig.runPulled(none);
		expect(refused).toMatchObject({ error: { code: "unknownModule" } });
	});

	test("waits of a script cost it nothing", async () => {
		const body = `(drop (call $connect (i32.const 0) (i32.const 11)))
			(drop (call $sendRpc (i32.const 1) (i64.const 1) (i32.const 0) (i32.const 4)))
			(drop (call $recvRpcReply (i32.const 1) (i64.const 1) (i32.const 0)))
			(i32.const 6)`;
		const wasm = script(declare("connect", "sendRpc", "recvRpcReply"), body, "s3://models");
		expect(await status(wasm, { cpuMs: 1, replies: { "*": { delayMs: 100 } } })).toBe(6);
	});
});

describe("a script's own isolate", () => {
	test("has no network and no bindings", async () => {
		const source = `import { env } from "cloudflare:workers";
			export default async () => {
				console.log(Object.keys(env).length);
				try { await fetch("http://127.0.0.1/"); console.log("fetched"); } catch (error) { console.log("blocked"); }
				const { connect } = await import("cloudflare:sockets").catch(() => ({}));
				try { const s = connect("127.0.0.1:80"); await s.opened; console.log("opened"); } catch { console.log("blocked"); }
			}`;
		const { outcome, ops } = await run({ source });
		const end = exitOf(outcome);
		const logs = [...ops, ...end.ops].map((it) => (it as { text: string }).text);
		expect(logs).toEqual(["0", "blocked", "blocked"]);
	});

	test("has none of Node's modules", async () => {
		const source = `export default async () => {
			for (const name of ["fs", "net", "http", "child_process", "os", "vm", "worker_threads"])
				await import(["node", name].join(":")).then(() => console.log(name), () => {});
		};`;
		const { outcome, ops } = await run({ source });
		expect([...ops, ...exitOf(outcome).ops]).toEqual([]);
	});

	test("keeps nothing from run to run", async () => {
		const source = "let runs = 0; export default () => { runs += 1; return runs; };";
		for (let i = 0; i < 3; i += 1) {
			expect(exitOf((await run({ source })).outcome)).toMatchObject({ end: "exit", status: 1 });
		}
	});

	test("that throws something odd, or catches its own exit, still ends", async () => {
		const odd = exitOf((await run({ source: "export default () => { throw null; };" })).outcome);
		expect(odd).toMatchObject({ end: "trap", error: { message: "threw null" } });
		const source = `import { exit, log } from "headstart";
			export default () => { try { exit(4); } catch {} try { log("more"); } catch {} return 0; };`;
		expect(exitOf((await run({ source })).outcome)).toEqual({ ops: [], end: "exit", status: 4 });
	});

	test("cannot send malformed calls by other means", async () => {
		// The prototype of every batch, changed by the script.
		const source = `import { expectMsg } from "headstart";
			export default async () => {
				const push = Array.prototype.push;
				Array.prototype.push = function (op) { return push.call(this, { op: "connect", conn: "x", address: 7 }); };
				expectMsg(1n);
				await 0; await 0; await 0; await 0; await 0; await 0;
			};`;
		const { outcome, ops } = await run({ source });
		expect(ops).toEqual([]);
		expect(exitOf(outcome)).toMatchObject({ end: "trap" });
	});
});

test("scripts run side by side, each with its own state", async () => {
	const imports = declare("connect", "sendRpc", "recvRpcReply");
	const body = `
		(drop (call $connect (i32.const 0) (i32.const 11)))
		(drop (call $sendRpc (i32.const 1) (i64.const 1) (i32.const 0) (i32.const 4)))
		(drop (call $recvRpcReply (i32.const 1) (i64.const 1) (i32.const 100)))
		(i32.load (i32.const 104))`;
	const wasm = script(imports, body, "s3://models");
	const runs = Array.from({ length: 40 }, (_, length) =>
		status(wasm, { replies: { "*": { bytes: length, delayMs: 50 } } }),
	);
	expect(await Promise.all(runs)).toEqual(Array.from({ length: 40 }, (_, length) => length));
});

test("many scripts with many waiting calls share the runner's calls", async () => {
	const source = `import { connect, sendRpc, recvRpcReply } from "headstart";
		export default async () => {
			const c = connect("a");
			const ids = Array.from({ length: 64 }, (_, i) => BigInt(i));
			for (const id of ids) sendRpc(c, id, "x");
			return (await Promise.all(ids.map((id) => recvRpcReply(c, id)))).length;
		}`;
	const runs = Array.from({ length: 12 }, () => rig.run({ source }, { replies: { "*": { delayMs: 20 } } }));
	for (const { outcome, most } of await Promise.all(runs)) {
		expect(exitOf(outcome)).toMatchObject({ end: "exit", status: 64 });
		expect(most).toBeLessThanOrEqual(32);
	}
});

test("scripts that wait in vain leave their places to others", async () => {
	const source = `import { connect, sendRpc, recvRpcReply } from "headstart";
		export default async () => {
			const c = connect("a");
			for (let i = 0n; i < 32n; i++) sendRpc(c, i, "x");
			await Promise.all(Array.from({ length: 32 }, (_, i) => recvRpcReply(c, BigInt(i))));
		}`;
	const vain = Array.from({ length: 14 }, () =>
		rig.run({ source }, { deadlineMs: 300, replies: { "*": { delayMs: -1 } } }),
	);
	for (const { outcome } of await Promise.all(vain))
		expect(exitOf(outcome)).toMatchObject({ end: "deadline" });
	expect(exitOf((await rig.run({ source })).outcome)).toMatchObject({ end: "exit" });
});

test("a script that asks without end is slowed down, not its neighbours' relay", async () => {
	const source = `import { connect, sendRpc, readReply } from "headstart";
		export default async () => {
			const c = connect("a");
			sendRpc(c, 1n, "x");
			for (;;) await Promise.all(Array.from({ length: 32 }, () => readReply(1n, 0)));
		}`;
	const { outcome, reads } = await run({ source }, { deadlineMs: 500, replies: { "*": { bytes: 20_000 } } });
	expect(exitOf(outcome)).toMatchObject({ end: "deadline" });
	expect(reads).toBeLessThan(1_000 + 5_000);
});

test("unload forgets", async () => {
	const loaded = await rig.load({ wasm: script("", "(i32.const 9)") });
	if ("error" in loaded) throw new Error(loaded.error.message);
	await rig.unload(loaded.ok.digest);
	expect((await rig.runDigest(loaded.ok.digest)).outcome).toMatchObject({ error: { code: "unknownModule" } });
});

function invalidCode(): Uint8Array {
	const module = script("", "(i32.const 9)");
	// The function's body: i32.const 9, end → drop of nothing, nop, end.
	module.set([0x1a, 0x01], module.lastIndexOf(0x41));
	return module;
}

function exitOf(outcome: RecordedRun["outcome"]): ScriptExit {
	if ("error" in outcome) throw new Error(outcome.error.message);
	return outcome.ok;
}
