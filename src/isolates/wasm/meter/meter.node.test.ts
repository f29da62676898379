import { describe, expect, test } from "vitest";
import { instantiate, isValid } from "../../test/instance.ts";
import { largeModule, randomModule } from "../../test/random-module.ts";
import { declare, script, wat } from "../../test/wat.ts";
import { MAX_MODULE_BYTES, readModule, sections } from "../module.ts";
import { ModuleError } from "../reader.ts";
import { meter } from "./index.ts";

const MAIN = '(func (export "headstart_main"))';
const MEMORY = '(memory (export "memory") 1 4)';
const module = (text: string): Uint8Array => wat(`(module ${MEMORY} ${text})`);
/** Fuel that a call of an export takes. */
const fuelOf = (bytes: Uint8Array, name: string, ...args: (number | bigint)[]): number => {
	const it = instantiate(meter(bytes));
	it.call(name, ...args);
	return it.used;
};

describe("a metered module", () => {
	test("does what it did: random modules, their results, memory and globals", () => {
		for (let seed = 1; seed <= 60; seed += 1) {
			const { text, functions } = randomModule(seed);
			const bytes = wat(text);
			const [plain, metered] = [instantiate(bytes), instantiate(meter(bytes))];
			for (let index = 0; index < functions; index += 1) {
				for (const [a, b] of [
					[0, 1n],
					[7, -5n],
					[-1, 1n << 40n],
				] as const) {
					expect([seed, index, metered.call(`f${index}`, a, b)]).toEqual([
						seed,
						index,
						plain.call(`f${index}`, a, b),
					]);
				}
			}
			expect(metered.memory).toEqual(plain.memory);
			// Each step of the program is four instructions; what is charged is no less, and not out of all proportion.
			const steps = Number(metered.global("steps"));
			expect(steps).toBe(Number(plain.global("steps")));
			expect(metered.used).toBeGreaterThanOrEqual(4 * steps);
			expect(metered.used).toBeLessThan(500 * (steps + 100));
		}
	}, 60_000);

	test("pays for each turn of a loop, and for each call", () => {
		const loops = module(`${MAIN}
			(func (export "loop") (param $n i32) (result i32) (local $i i32)
				(loop $again
					(local.set $i (i32.add (local.get $i) (i32.const 1)))
					(br_if $again (i32.lt_u (local.get $i) (local.get $n))))
				(local.get $i))
			(func $f (export "recursion") (param $n i32) (result i32)
				(if (result i32) (local.get $n)
					(then (call $f (i32.sub (local.get $n) (i32.const 1))))
					(else (i32.const 0))))`);
		const turn = fuelOf(loops, "loop", 2) - fuelOf(loops, "loop", 1);
		expect(turn).toBe(8 + 7);
		expect(fuelOf(loops, "loop", 1001)).toBe(fuelOf(loops, "loop", 1) + 1000 * turn);
		const call = fuelOf(loops, "recursion", 2) - fuelOf(loops, "recursion", 1);
		expect(call).toBeGreaterThanOrEqual(10);
		expect(fuelOf(loops, "recursion", 501)).toBe(fuelOf(loops, "recursion", 1) + 500 * call);
	});

	test("pays for its locals at each call, and looks at once when they are many", () => {
		const call = (type: string, count: number): number => {
			const bytes = module(`${MAIN} (func $f (local${` ${type}`.repeat(count)}))
				(func (export "run") (call $f)) (func (export "twice") (call $f) (call $f))`);
			return fuelOf(bytes, "twice") - fuelOf(bytes, "run");
		};
		expect(call("i64", 0)).toBe(5);
		expect(call("i64", 4) - call("i64", 2)).toBe(1);
		expect(call("i64", 100) - call("i64", 99)).toBe(0);
		expect(call("i64", 10_000)).toBe(5 + 5_000 + 7);
		expect(call("v128", 10_000)).toBe(5 + 10_000 + 7);
		const it = instantiate(
			meter(
				module(`${MAIN} (func $f (local${" i32".repeat(10_000)}))
				(func (export "run") ${"(call $f)".repeat(50)})`),
			),
			{ slice: 1_000 },
		);
		it.call("run");
		expect(it.refills).toBeGreaterThanOrEqual(50);
	});

	test("pays for the values that a branch, a block or a call carries", () => {
		const zeros = (count: number): number[] => repeated(count, [0x42, 0]);
		const drops = (count: number): number[] => repeated(count, [0x1a]);
		/** Of a turn of a loop that takes so many values: `br_if` with what is left of the parameter, 0. */
		const turn = (count: number): number => {
			const loop = [0x03, 2, 0x20, 0, 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0, ...drops(count), 0x0b];
			const bytes = assembled(
				[
					[1, 0, I32],
					[0, 0],
					[count, 0],
				],
				[[0, [...zeros(count), ...loop]]],
			);
			return fuelOf(bytes, "f0", 11) - fuelOf(bytes, "f0", 10);
		};
		expect([turn(1) - turn(0), turn(2) - turn(1), turn(16) - turn(1), turn(64) - turn(1)]).toEqual([
			0, 1, 15, 63,
		]);
		const block = (count: number): number =>
			fuelOf(
				assembled(
					[
						[0, 0],
						[0, count],
					],
					[[0, [0x02, 1, ...zeros(count), 0x0b, ...drops(count)]]],
				),
				"f0",
			);
		expect(block(16) - block(1)).toBe(15 + 15);
		const call = (parameters: number, results: number): number => {
			const run = [...zeros(parameters), 0x10, 1, ...drops(results)];
			return fuelOf(
				assembled(
					[
						[0, 0],
						[parameters, results],
					],
					[
						[0, run],
						[1, zeros(results)],
					],
				),
				"f0",
			);
		};
		expect(call(8, 0) - call(0, 0)).toBe(8);
		expect(call(64, 0) - call(8, 0)).toBe(56 + 56);
		expect(call(0, 16) - call(0, 2)).toBe(14 + 14);
		const table = [0x41, 0, 0x11, 3, 0];
		expect(() =>
			meter(
				assembled(
					[
						[0, 0],
						[0, 0],
					],
					[[0, table]],
				),
			),
		).toThrow(/no type 3/);
	});

	test("pays for the search of a table of branches", () => {
		const branch = (targets: number): number =>
			fuelOf(
				assembled(
					[[1, 0, I32]],
					[[0, [0x02, 0x40, 0x20, 0, 0x0e, ...leb128(targets), ...repeated(targets, [0]), 0, 0x0b]]],
				),
				"f0",
				1,
			);
		expect([branch(1) - branch(0), branch(1000) - branch(1)]).toEqual([1, 9]);
	});

	test("pays for a vector's divisions and roots as for a number's", () => {
		const price = (vector: string, number: string, by: string): void => {
			const [type, lanes] = [number.slice(0, 3), vector.slice(0, 5)];
			const bytes = module(`${MAIN}
				(func (export "vector") (param v128) (drop (${vector} (local.get 0) ${by})))
				(func (export "number") (param ${type}) (drop (${number} (local.get 0) ${by})))
				(func (export "run") (call 1 (${lanes}.splat (${type}.const 1))))
				(func (export "same") (call 2 (${type}.const 1)))`);
			expect(fuelOf(bytes, "run") - fuelOf(bytes, "same")).toBe(1);
		};
		for (const [type, lanes] of [
			["f32", "f32x4"],
			["f64", "f64x2"],
		]) {
			price(`${lanes}.div`, `${type}.div`, "(local.get 0)");
			price(`${lanes}.sqrt`, `${type}.sqrt`, "");
		}
	});

	test("asks for more fuel within loops and calls, and goes on where it was", () => {
		const bytes = module(`${MAIN}
			(func (export "sum") (param $n i32) (result i64) (local $sum i64)
				(loop $again
					(local.set $sum (i64.add (local.get $sum) (i64.extend_i32_u (local.get $n))))
					(br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
				(local.get $sum))`);
		const it = instantiate(meter(bytes), { slice: 1_000 });
		expect(it.call("sum", 10_000)).toBe(50_005_000n);
		expect(it.refills).toBeGreaterThan(100);
	});

	test("looks in a function however little of it is run first", () => {
		const much = "(global.set $g (i32.div_s (i32.const 1) (i32.const 3)))".repeat(1_000);
		const it = instantiate(
			meter(
				module(`${MAIN} (global $g (mut i32) (i32.const 0))
					(func $f (param $some i32) (if (local.get $some) (then ${much})))
					(func (export "run") ${"(call $f (i32.const 1))".repeat(50)})`),
			),
			{ slice: 1_000 },
		);
		it.call("run");
		expect(it.used).toBeGreaterThan(50 * 1_000 * 20);
		expect(it.refills).toBeGreaterThanOrEqual(49);
	});

	test("looks after each call of the host's, which takes off what it did", () => {
		for (const call of [
			"(call $log (i32.const 0) (i32.const 0))",
			"(call_indirect (param i32 i32) (result i32) (i32.const 0) (i32.const 0) (i32.const 0))",
		]) {
			const bytes =
				wat(`(module ${declare("log")} ${MEMORY} (table 1 1 funcref) (elem (i32.const 0) $log) ${MAIN}
				(func (export "run") ${`(drop ${call})`.repeat(20)}))`);
			const it = instantiate(meter(bytes), { slice: 1_000, hostFuel: 5_000 });
			it.call("run");
			expect(it.calls).toHaveLength(20);
			expect(it.refills).toBeGreaterThanOrEqual(20);
		}
	});

	test("pays for bulk instructions by their length", () => {
		const bytes = module(`${MAIN}
			(data $d "some bytes")
			(table $t 100 1000 funcref) (elem $e func $f) (func $f)
			(func (export "fill") (param $n i32) (memory.fill (i32.const 0) (i32.const 1) (local.get $n)))
			(func (export "copy") (param $n i32) (memory.copy (i32.const 0) (i32.const 8) (local.get $n)))
			(func (export "init") (param $n i32) (memory.init $d (i32.const 0) (i32.const 0) (local.get $n)))
			(func (export "grow") (param $n i32) (result i32) (memory.grow (local.get $n)))
			(func (export "tableFill") (param $n i32) (table.fill $t (i32.const 0) (ref.null func) (local.get $n)))
			(func (export "tableCopy") (param $n i32) (table.copy $t $t (i32.const 0) (i32.const 0) (local.get $n)))
			(func (export "tableGrow") (param $n i32) (result i32) (table.grow $t (ref.null func) (local.get $n)))
			(func (export "tableInit") (param $n i32) (table.init $t $e (i32.const 0) (i32.const 0) (local.get $n)))`);
		const priceOf = (name: string, n: number): number => fuelOf(bytes, name, n) - fuelOf(bytes, name, 0);
		expect(priceOf("fill", 65_536)).toBe(16_384);
		expect(priceOf("copy", 65_000)).toBe(16_250);
		expect(priceOf("init", 10)).toBe(2);
		expect(priceOf("grow", 3)).toBe(3 * 16_384);
		expect(priceOf("grow", -1)).toBe(0); // fails at once
		expect(priceOf("tableFill", 100)).toBe(12_800);
		expect(priceOf("tableCopy", 50)).toBe(6_400);
		expect(priceOf("tableGrow", 900)).toBe(115_200);
		expect(priceOf("tableInit", 1)).toBe(128);
		// A length that traps is paid before it does; none makes the counter wrap.
		const it = instantiate(meter(bytes));
		expect(it.call("fill", -1)).toBe("trap");
		expect(it.used).toBeGreaterThan(2 ** 30 - 1);
	});

	test("keeps its imports, tables, references, several results and names", () => {
		const text = `(module ${declare("connect", "expectMsg")} ${MEMORY}
			(type $pair (func (param i32) (result i32 i32)))
			(table 4 4 funcref)
			(elem (i32.const 0) $swap $expectMsg)
			(elem (i32.const 2) funcref (ref.func $swap) (ref.null func))
			(global $g funcref (ref.func $swap))
			(func $swap (type $pair) (i32.const 7) (local.get 0))
			(func $main (export "headstart_main") (result i32)
				(drop (call $expectMsg (i64.const 9)))
				(call_indirect (type $pair) (i32.const 5) (i32.const 2))
				(i32.sub))
			(func (export "isNull") (result i32) (ref.is_null (global.get $g)))
			(export "swap" (func $swap)))`;
		const bytes = meter(wat(text, { names: true }));
		const it = instantiate(bytes);
		expect(it.call("headstart_main")).toBe(2);
		expect(it.calls).toEqual([["expectMsg", 9n]]);
		expect(it.call("swap", 3)).toEqual([7, 3]);
		expect(it.call("isNull")).toBe(0);
		expect(functionNames(bytes)).toEqual([
			[0, "connect"],
			[1, "expectMsg"],
			[3, "swap"],
			[4, "main"],
		]);
	});

	test("has SIMD", () => {
		const bytes = module(`${MAIN} (func (export "lanes") (result i32)
			(i32x4.extract_lane 2 (i32x4.add (i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15
				(v128.const i32x4 1 2 3 4) (v128.load (i32.const 0))) (i32x4.splat (i32.const 4)))))`);
		expect(instantiate(meter(bytes)).call("lanes")).toBe(7);
	});

	test("is no valid original, and an original is no metered one", () => {
		const bytes = module(MAIN);
		expect(() => meter(meter(bytes))).toThrow(/"meter"\."refill" is not there/);
		expect(() => readModule(bytes, { metered: true })).toThrow(/not metered/);
		expect(readModule(meter(bytes), { metered: true }).memory).toMatchObject({ maximumPages: 4 });
		expect(() => meter(module(`${MAIN} (global (export "meter_fuel") i32 (i32.const 0))`))).toThrow(
			/meter's own/,
		);
	});
});

describe("what cannot be metered is refused with the reason", () => {
	test.each<[string, string, RegExp]>([
		["a start section", `${MAIN} (func $s) (start $s)`, /start section/],
		["atomics", `${MAIN} (func (drop (i32.atomic.load (i32.const 0))))`, /threads and atomics/],
		["a tail call", `${MAIN} (func $f (return_call $f))`, /tail calls/],
		["exceptions", `(tag $t) ${MAIN} (func (throw $t))`, /exceptions/],
		["garbage collection", `${MAIN} (func (drop (ref.i31 (i32.const 1))))`, /garbage collection|reference/],
	])("%s", (_, text, reason) => {
		expect(() => meter(module(text))).toThrow(reason);
	});

	test("more values than a call or a branch may carry", () => {
		expect(
			isValid(
				meter(
					assembled(
						[
							[0, 0],
							[64, 16],
						],
						[[0, []]],
					),
				),
			),
		).toBe(true);
		expect(() =>
			meter(
				assembled(
					[
						[0, 0],
						[65, 0],
					],
					[[0, []]],
				),
			),
		).toThrow(/65 parameters; at most 64/);
		expect(() =>
			meter(
				assembled(
					[
						[0, 0],
						[0, 17],
					],
					[[0, []]],
				),
			),
		).toThrow(/17 results; at most 16/);
	});

	test("more locals than 10,000, in one group or in many", () => {
		const locals = (count: number): Uint8Array =>
			module(`${MAIN} (func (local${" i32 f64".repeat(count / 2)}))`);
		expect(isValid(meter(locals(10_000)))).toBe(true);
		expect(() => meter(locals(10_002))).toThrow(/more than 10000 locals/);
		// The same function with one group: `(local i32)` becomes 2^32 - 1 of them, in five bytes where there was one.
		const bytes = module(`(func (local i32)) ${MAIN}`);
		const at = bytes.findLastIndex(
			(byte, index) => byte === 1 && bytes[index + 1] === 1 && bytes[index + 2] === 0x7f,
		);
		const huge = new Uint8Array([
			...bytes.subarray(0, at + 1),
			0xff,
			0xff,
			0xff,
			0xff,
			0x0f,
			...bytes.subarray(at + 2),
		]);
		huge[at - 1] = (huge[at - 1] ?? 0) + 4; // the body's length
		huge[at - 3] = (huge[at - 3] ?? 0) + 4; // the section's
		expect(() => meter(huge)).toThrow(ModuleError);
		expect(() => meter(huge)).toThrow(/more than 10000 locals/);
	});

	test("instructions that would reach what the meter adds", () => {
		// (func (export "headstart_main") global.set 0 …): the module has no global, so that 0 would be the counter.
		const bytes = module(
			`(global $g (mut i32) (i32.const 0)) (func (export "headstart_main") (global.set $g (i32.const 77)))`,
		);
		const at = bytes.findLastIndex((byte, index) => byte === 0x24 && bytes[index + 1] === 0);
		bytes[at + 1] = 1;
		expect(() => meter(bytes)).toThrow(/no global 1/);
		const calls = module(`(func $f) (func (export "headstart_main") (call $f))`);
		const call = calls.findLastIndex((byte, index) => byte === 0x10 && calls[index + 1] === 0);
		calls[call + 1] = 2;
		expect(() => meter(calls)).toThrow(/no function 2/);
	});

	test("a module of 64 MB, by its size", () => {
		expect(() => meter(new Uint8Array(64 << 20))).toThrow(/67108864 bytes; at most/);
	});
});

test("the densest module does not make its counter wrap", () => {
	const count = 50_000;
	const bytes = module(`(table $t 1 1 funcref) ${MAIN}
		(func (export "run") ${"(table.set $t (i32.const 0) (ref.null func))".repeat(count)})`);
	const it = instantiate(meter(bytes));
	it.call("run");
	expect(it.used).toBeGreaterThan(400 * count);
	// By the byte, times the bytes that a module may have.
	expect((it.used / bytes.length) * MAX_MODULE_BYTES).toBeLessThan(2 ** 27);
});

test("the module that grows most is still taken by the runner", () => {
	const loops = module(`${MAIN} (func ${"(loop)".repeat(300_000)})`);
	expect(loops.length).toBeGreaterThan(900_000);
	expect(readModule(meter(loops), { metered: true }).memory.minimumPages).toBe(1);
});

test("200 KB take well under 100 ms", () => {
	const bytes = largeModule(200_000);
	meter(script("", "(i32.const 1)"));
	const began = performance.now();
	meter(bytes);
	expect(performance.now() - began).toBeLessThan(100);
});

const I32 = 0x7f;
const I64 = 0x7e;

function repeated(count: number, bytes: readonly number[]): number[] {
	return Array.from({ length: count }, () => bytes).flat();
}

function leb128(value: number): number[] {
	return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...leb128(value >> 7)];
}

/**
 * A module as it is written here, which no compiler rewrites: types as `[parameters, results, type of both]`, functions as
 * `[type, code]`. It exports them as f0, f1, …; the entry does nothing.
 */
function assembled(
	types: readonly (readonly [number, number, number?])[],
	functions: readonly (readonly [number, readonly number[]])[],
): Uint8Array {
	const section = (id: number, items: readonly (readonly number[])[]): number[] => {
		const content = [...leb128(items.length), ...items.flat()];
		return [id, ...leb128(content.length), ...content];
	};
	const name = (text: string): number[] => [text.length, ...new TextEncoder().encode(text)];
	const values = (count: number, type: number): number[] => [...leb128(count), ...repeated(count, [type])];
	const entry = functions.length;
	const none = types.length;
	const body = (code: readonly number[]): number[] => [...leb128(code.length + 2), 0, ...code, 0x0b];
	return Uint8Array.from([
		...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
		...section(1, [
			...types.map(([parameters, results, type = I64]) => [
				0x60,
				...values(parameters, type),
				...values(results, type),
			]),
			[0x60, 0, 0],
		]),
		...section(3, [...functions.map(([type]) => [type]), [none]]),
		...section(4, [[0x70, 1, 1, 1]]),
		...section(5, [[1, 1, 1]]),
		...section(7, [
			[...name("memory"), 2, 0],
			[...name("headstart_main"), 0, entry],
			...functions.map((_, index) => [...name(`f${index}`), 0, index]),
		]),
		...section(10, [...functions.map(([, code]) => body(code)), body([])]),
	]);
}

/** What the name section says of functions. */
function functionNames(bytes: Uint8Array): [number, string][] {
	for (const { id, content } of sections(bytes)) {
		if (id !== 0 || content.name() !== "name") continue;
		content.byte();
		content.u32();
		return content.list(() => [content.u32(), content.name()]);
	}
	return [];
}
