import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { declare, script, wat } from "../test/wat.ts";
import { boundMemory } from "./memory.ts";
import { readModule } from "./module.ts";
import { ModuleError } from "./reader.ts";

const MAIN = '(func (export "headstart_main"))';
const MEMORY = '(memory (export "memory") 1)';
const good = script(declare("connect", "recvRpcReply", "log"), "(i32.const 1)", "some data");

/** The module with `bytes` put in at its end: a section of its own. */
const withSection = (id: number, content: number[], module = good): Uint8Array =>
	new Uint8Array([...module, id, content.length, ...content]);

describe("the rules", () => {
	test.each<[string, string, RegExp]>([
		["no memory", `(module ${MAIN})`, /no memory of its own/],
		["memory not exported", `(module (memory 1) ${MAIN})`, /must export its memory as "memory"/],
		[
			"another export of that name",
			`(module (memory 1) (global (export "memory") i32 (i32.const 1)) ${MAIN})`,
			/must export its memory/,
		],
		["two memories", `(module ${MEMORY} (memory 1) ${MAIN})`, /exactly one memory/],
		["64-bit memory", `(module (memory (export "memory") i64 1) ${MAIN})`, /not shared and not 64-bit/],
		["shared memory", `(module (memory (export "memory") 1 2 shared) ${MAIN})`, /not shared/],
		[
			"imported memory",
			`(module (import "env" "memory" (memory 1)) ${MAIN})`,
			/"env"\."memory" is no function/,
		],
		["no entry", `(module ${MEMORY})`, /must export the function "headstart_main"/],
		[
			"entry with a parameter",
			`(module ${MEMORY} (func (export "headstart_main") (param i32)))`,
			/must take nothing/,
		],
		[
			"entry with an i64",
			`(module ${MEMORY} (func (export "headstart_main") (result i64) (i64.const 1)))`,
			/an i32/,
		],
		["start section", `(module ${MEMORY} ${MAIN} (func $s) (start $s))`, /start section/],
		[
			"WASI",
			`(module (import "wasi_snapshot_preview1" "fd_write" (func)) ${MEMORY} ${MAIN})`,
			/without WASI/,
		],
		[
			"an unknown call",
			`(module (import "headstart" "sendrpc" (func)) ${MEMORY} ${MAIN})`,
			/no call "sendrpc"; it has connect/,
		],
		[
			"a wrong type",
			`(module (import "headstart" "expectMsg" (func (param i32) (result i32))) ${MEMORY} ${MAIN})`,
			/\(i64\) -> \(i32\)/,
		],
		[
			"a wrong abort",
			`(module (import "env" "abort" (func (param i32))) ${MEMORY} ${MAIN})`,
			/"env"\."abort" must have/,
		],
		["a boundless table", `(module ${MEMORY} (table 1 funcref) ${MAIN})`, /a table must have a maximum/],
		["a huge table", `(module ${MEMORY} (table 1 100000 funcref) ${MAIN})`, /a table must have a maximum/],
		[
			"two large tables",
			`(module ${MEMORY} ${"(table 1 40000 funcref)".repeat(2)} ${MAIN})`,
			/more than 65536 entries together/,
		],
		["many tables", `(module ${MEMORY} ${"(table 1 1 funcref)".repeat(9)} ${MAIN})`, /more than 8 tables/],
	])("%s", (_, text, reason) => {
		expect(() => readModule(wat(text))).toThrow(reason);
	});

	test.each<[string, Uint8Array, RegExp]>([
		["two memory sections", withSection(5, [1, 0, 1]), /out of order/],
		["an unknown section", withSection(14, []), /section 14/],
		["a section that is cut off", new Uint8Array([...good, 11, 9]), /cut off/],
		["a start section at its end", withSection(8, [0]), /out of order/],
		["a version of its own", good.with(4, 2), /version 1/],
		["too many bytes", new Uint8Array((4 << 20) + 1), /at most/],
	])("%s", (_, bytes, reason) => {
		expect(() => readModule(bytes)).toThrow(reason);
	});

	test("allow AssemblyScript's abort, an initialize function, and custom sections", () => {
		const module = wat(`(module (import "env" "abort" (func (param i32 i32 i32 i32))) ${MEMORY} ${MAIN}
			(func (export "_initialize")))`);
		expect(readModule(withSection(0, [1, 0x61, 1, 2, 3], module)).memory.minimumPages).toBe(1);
	});
});

describe("the bound of a memory", () => {
	test("is written in, and a lower one of the module's own stays", () => {
		expect(boundMemory(good, 4 * 65_536)).toBe(good);
		const bounded = boundMemory(good, 3 * 65_536 + 1);
		expect(readModule(bounded).memory).toMatchObject({ minimumPages: 1, maximumPages: 3 });
		expect(readModule(boundMemory(wat(`(module ${MEMORY} ${MAIN})`), 2 ** 32)).memory.maximumPages).toBe(
			65_536,
		);
	});

	test("leaves all else as it was", () => {
		const bounded = boundMemory(good, 2 * 65_536);
		const { start, end } = readModule(good).memory;
		const after = readModule(bounded).memory;
		expect(bounded.subarray(0, start)).toEqual(good.subarray(0, start));
		expect(bounded.subarray(after.end)).toEqual(good.subarray(end));
	});
});

test("whatever the bytes, the answer is a module or a ModuleError", () => {
	const mutation = fc.record({ at: fc.nat(good.length - 1), byte: fc.nat(255) });
	const mutated = fc
		.tuple(fc.array(mutation, { maxLength: 4 }), fc.nat(good.length))
		.map(([changes, length]) => {
			const bytes = good.slice(0, Math.max(length, 8));
			for (const { at, byte } of changes) if (at < bytes.length) bytes[at] = byte;
			return bytes;
		});
	fc.assert(
		fc.property(fc.oneof(mutated, fc.uint8Array({ maxLength: 200 })), (bytes) => {
			try {
				readModule(boundMemory(bytes, 1 << 20));
			} catch (thrown) {
				expect(thrown).toBeInstanceOf(ModuleError);
			}
		}),
		{ numRuns: 5_000 },
	);
});
