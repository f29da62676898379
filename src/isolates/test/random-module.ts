/**
 * Random modules that end by themselves, for tests of the meter: functions f0, f1, … of (i32, i64) → i32 with blocks, loops,
 * branches, tables, calls, memory and bulk instructions. Each statement counts itself in the global "steps".
 */
import { wat } from "./wat.ts";

export interface RandomModule {
	text: string;
	functions: number;
}

/** The same for the same seed. */
export function randomModule(seed: number, functions = 6): RandomModule {
	const bodies = Array.from({ length: functions }, (_, index) => new Body(seed * 1_000 + index, index).text);
	const text = `(module
		(memory (export "memory") 1 4)
		(data (i32.const 16) "initial bytes of the memory")
		(data $passive "bytes that are copied later")
		(global $steps (export "steps") (mut i32) (i32.const 0))
		(global $g (mut i64) (i64.const 3))
		(table 8 8 funcref)
		(elem (i32.const 0) ${bodies.map((_, index) => `$f${index}`).join(" ")})
		(type $t (func (param i32 i64) (result i32)))
		(func (export "headstart_main"))
		${bodies.join("\n")})`;
	return { text, functions };
}

/** A module of more than `bytes` bytes. */
export function largeModule(bytes: number): Uint8Array {
	for (let functions = 64; ; functions *= 2) {
		const module = wat(
			randomModule(1, functions).text.replace("(table 8 8", `(table ${functions} ${functions}`),
		);
		if (module.length > bytes) return module;
	}
}

class Body {
	#state: number;
	readonly #index: number;
	#locals = 0;
	#labels: string[] = [];
	#names = 0;
	readonly text: string;

	constructor(seed: number, index: number) {
		this.#state = seed;
		this.#index = index;
		const statements = this.#statements(4);
		const locals = Array.from({ length: this.#locals }, (_, at) => `(local $n${at} i32)`).join(" ");
		this.text = `(func $f${index} (export "f${index}") (param $a i32) (param $b i64) (result i32)
			${locals} (local $x i32) (local $y i64)
			(local.set $x (local.get $a)) (local.set $y (local.get $b))
			${statements}
			${this.#i32(2)})`;
	}

	/** From 0 to below `count` (mulberry32). */
	#pick(count: number): number {
		this.#state = (this.#state + 0x6d2b79f5) | 0;
		let it = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
		it ^= it + Math.imul(it ^ (it >>> 7), 61 | it);
		return ((it ^ (it >>> 14)) >>> 0) % count;
	}

	#statements(depth: number): string {
		return Array.from({ length: 1 + this.#pick(4) }, () => {
			const step = "(global.set $steps (i32.add (global.get $steps) (i32.const 1)))";
			return `${step} ${this.#statement(depth)}`;
		}).join("\n");
	}

	#statement(depth: number): string {
		switch (this.#pick(depth > 0 ? 16 : 9)) {
			case 0:
				return `(local.set $x ${this.#i32(2)})`;
			case 1:
				return `(local.set $y ${this.#i64(2)})`;
			case 2:
				return `(global.set $g ${this.#i64(2)})`;
			case 3:
				return `(i32.store offset=4 ${this.#address()} ${this.#i32(2)})`;
			case 4:
				return `(i64.store16 ${this.#address()} ${this.#i64(1)})`;
			case 5:
				return this.#branch();
			case 6:
				return `(memory.fill ${this.#address()} ${this.#i32(1)} ${this.#length()})`;
			case 7:
				return `(memory.copy ${this.#address()} ${this.#address()} ${this.#length()})`;
			case 8:
				return `(memory.init $passive ${this.#address()} (i32.const ${this.#pick(8)}) (i32.const ${this.#pick(16)}))`;
			case 9:
				return `(if ${this.#i32(2)} (then ${this.#statements(depth - 1)}) (else ${this.#statements(depth - 1)}))`;
			case 10:
				return `(if ${this.#i32(1)} (then ${this.#statements(depth - 1)}))`;
			case 11:
			case 12:
				return this.#within("block", (label) => `(block ${label} ${this.#statements(depth - 1)})`);
			case 13:
				return this.#loop(depth);
			case 14:
				return this.#switch(depth);
			default:
				return `(local.set $x ${this.#call()})`;
		}
	}

	/** A loop of a few turns, whatever happens in it. */
	#loop(depth: number): string {
		const counter = `$n${this.#locals}`;
		this.#locals += 1;
		const body = (label: string): string => `(local.set ${counter} (i32.const ${1 + this.#pick(5)}))
			(loop ${label}
				(if (i32.eqz (local.get ${counter})) (then) (else
				(local.set ${counter} (i32.sub (local.get ${counter}) (i32.const 1)))
				${this.#statements(depth - 1)}
				(br_if ${label} (local.get ${counter})))))`;
		return this.#within("loop", body);
	}

	#switch(depth: number): string {
		return this.#within("block", (a) => {
			const inner = this.#within("block", (b) => `(block ${b} (br_table ${a} ${b} ${a} ${this.#i32(1)}))`);
			return `(block ${a} ${inner} ${this.#statements(depth - 1)})`;
		});
	}

	#branch(): string {
		const label = this.#labels[this.#pick(this.#labels.length + 1)];
		if (label === undefined) return `(if ${this.#i32(1)} (then (return ${this.#i32(1)})))`;
		return this.#pick(3) === 0
			? `(if ${this.#i32(1)} (then (br ${label})))`
			: `(br_if ${label} ${this.#i32(2)})`;
	}

	/** Blocks may be left from within; a loop's own label is its own affair, so that it ends. */
	#within(kind: "block" | "loop", body: (label: string) => string): string {
		const label = `$l${this.#names}`;
		this.#names += 1;
		const outer = this.#labels;
		this.#labels = kind === "block" ? [...outer, label] : outer;
		const text = body(label);
		this.#labels = outer;
		return text;
	}

	/** Of a function before this one, so that calls end. */
	#call(): string {
		if (this.#index === 0) return this.#i32(1);
		const callee = this.#pick(Math.min(this.#index, 8));
		const operands = `${this.#i32(1)} ${this.#i64(1)}`;
		return this.#pick(2) === 0
			? `(call $f${callee} ${operands})`
			: `(call_indirect (type $t) ${operands} (i32.const ${callee}))`;
	}

	#address(): string {
		return `(i32.and ${this.#i32(1)} (i32.const 0xfff))`;
	}

	#length(): string {
		return `(i32.and ${this.#i32(1)} (i32.const 0x3ff))`;
	}

	#i32(depth: number): string {
		switch (this.#pick(depth > 0 ? 10 : 3)) {
			case 0:
				return `(i32.const ${this.#pick(2 ** 32) | 0})`;
			case 1:
				return "(local.get $x)";
			case 2:
				return "(local.get $a)";
			case 3:
				return `(i32.load8_s offset=3 ${this.#address()})`;
			case 4:
				return `(i32.wrap_i64 ${this.#i64(depth - 1)})`;
			case 5:
				return `(i32.rem_u ${this.#i32(depth - 1)} (i32.const ${1 + this.#pick(100)}))`;
			case 6:
				return `(select ${this.#i32(depth - 1)} ${this.#i32(depth - 1)} ${this.#i32(0)})`;
			case 7:
				return `(i64.lt_s ${this.#i64(depth - 1)} ${this.#i64(0)})`;
			case 8:
				return `(if (result i32) ${this.#i32(0)} (then ${this.#i32(depth - 1)}) (else ${this.#i32(depth - 1)}))`;
			default:
				return `(i32.${["add", "sub", "mul", "xor", "rotl"][this.#pick(5)]} ${this.#i32(depth - 1)} ${this.#i32(depth - 1)})`;
		}
	}

	#i64(depth: number): string {
		switch (this.#pick(depth > 0 ? 6 : 3)) {
			case 0:
				return `(i64.const ${this.#pick(2 ** 31)})`;
			case 1:
				return "(local.get $y)";
			case 2:
				return "(global.get $g)";
			case 3:
				return `(i64.extend_i32_s ${this.#i32(depth - 1)})`;
			case 4:
				return `(i64.trunc_sat_f64_s (f64.convert_i32_s ${this.#i32(depth - 1)}))`;
			default:
				return `(i64.${["add", "sub", "mul", "shr_u"][this.#pick(4)]} ${this.#i64(depth - 1)} ${this.#i64(depth - 1)})`;
		}
	}
}
