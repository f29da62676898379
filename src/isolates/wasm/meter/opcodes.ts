/**
 * The instructions of WebAssembly 2.0 (and its relaxed SIMD): what follows each opcode, and what each costs. What is not
 * listed here is refused: nothing may run that is not metered.
 */

/** What follows an opcode. */
export type Immediate =
	| "none"
	/** Of a block: a type. */
	| "block"
	| "label"
	| "labels"
	/** A function index. */
	| "function"
	/** A type and a table. */
	| "indirect"
	| "types"
	| "index"
	| "index2"
	| "global"
	| "memory"
	/** A memory's number, which is 0. */
	| "zero"
	| "zero2"
	/** A data segment and a memory's number. */
	| "init"
	| "i32"
	| "i64"
	| "bytes4"
	| "bytes8"
	| "bytes16"
	| "lane"
	| "memoryLane"
	| "heap";

export interface Instruction {
	immediate: Immediate;
	/** Fuel that it costs. */
	cost: number;
}

/** What separates blocks costs nothing: it becomes no machine code. */
const FREE = 0;
const PLAIN = 1;
const CALL = 5;
const INDIRECT_CALL = 10;
/** Divisions and square roots. */
const SLOW = 20;
/** Bulk instructions on memory and on tables, before their length. */
const BULK = 100;
const TABLE = 400;

/** Opcodes of one byte. */
export const plain: readonly (Instruction | undefined)[] = table((set) => {
	set(0x00, "unreachable", "none");
	set(0x01, "nop", "none", FREE);
	set(0x02, "block", "block", FREE);
	set(0x03, "loop", "block", FREE);
	set(0x04, "if", "block");
	set(0x05, "else", "none", FREE);
	set(0x0b, "end", "none", FREE);
	set(0x0c, "br", "label");
	set(0x0d, "br_if", "label");
	set(0x0e, "br_table", "labels", 3);
	set(0x0f, "return", "none");
	set(0x10, "call", "function", CALL);
	set(0x11, "call_indirect", "indirect", INDIRECT_CALL);
	set(0x1a, "drop", "none", FREE);
	set(0x1b, "select", "none");
	set(0x1c, "select", "types");
	for (const at of [0x20, 0x21, 0x22]) set(at, "local", "index");
	set(0x23, "global.get", "global");
	set(0x24, "global.set", "global");
	set(0x25, "table.get", "index");
	set(0x26, "table.set", "index", TABLE);
	range(0x28, 0x3e, (at) => set(at, "load or store", "memory"));
	set(0x3f, "memory.size", "zero");
	set(0x40, "memory.grow", "zero", BULK);
	set(0x41, "i32.const", "i32");
	set(0x42, "i64.const", "i64");
	set(0x43, "f32.const", "bytes4");
	set(0x44, "f64.const", "bytes8");
	range(0x45, 0xc4, (at) => set(at, "a number's operation", "none"));
	for (const at of [0x6d, 0x6e, 0x6f, 0x70, 0x7f, 0x80, 0x81, 0x82, 0x91, 0x95, 0x9f, 0xa3]) {
		set(at, "a division or root", "none", SLOW);
	}
	set(0xd0, "ref.null", "heap");
	set(0xd1, "ref.is_null", "none");
	set(0xd2, "ref.func", "function", SLOW);
});

/** Opcodes after 0xfc: saturating conversions and bulk instructions, whose length is charged as well. */
export const numeric: readonly (Instruction | undefined)[] = table((set) => {
	range(0, 7, (at) => set(at, "trunc_sat", "none"));
	set(8, "memory.init", "init", BULK);
	set(9, "data.drop", "index", BULK);
	set(10, "memory.copy", "zero2", BULK);
	set(11, "memory.fill", "zero", TABLE);
	set(12, "table.init", "index2", TABLE);
	set(13, "elem.drop", "index", BULK);
	set(14, "table.copy", "index2", TABLE);
	set(15, "table.grow", "index", TABLE);
	set(16, "table.size", "index");
	set(17, "table.fill", "index", TABLE);
});

/** Opcodes after 0xfd. */
export const simd: readonly (Instruction | undefined)[] = table((set) => {
	range(0, 11, (at) => set(at, "v128 load or store", "memory"));
	set(12, "v128.const", "bytes16");
	set(13, "i8x16.shuffle", "bytes16");
	range(14, 20, (at) => set(at, "a vector's operation", "none"));
	range(21, 34, (at) => set(at, "a lane's operation", "lane"));
	range(35, 83, (at) => set(at, "a vector's operation", "none"));
	range(84, 91, (at) => set(at, "v128 lane's load or store", "memoryLane"));
	range(92, 93, (at) => set(at, "v128 load", "memory"));
	range(94, 275, (at) => set(at, "a vector's operation", "none", 2));
	for (const at of [0xe3, 0xe7, 0xef, 0xf3]) set(at, "a vector's division or root", "none", SLOW);
});

/** What an opcode that is not listed belongs to. */
export function proposalOf(opcode: number): string {
	if (opcode === 0xfe) return "threads and atomics";
	if (opcode === 0xfb || opcode === 0xd3 || opcode === 0xd5 || opcode === 0xd6) return "garbage collection";
	if (opcode === 0x12 || opcode === 0x13) return "tail calls";
	if (opcode === 0x14 || opcode === 0x15 || opcode === 0xd4) return "typed function references";
	if ([0x06, 0x07, 0x08, 0x09, 0x0a, 0x18, 0x19, 0x1f].includes(opcode)) return "exceptions";
	return "no proposal that is known here";
}

/** The name is for who reads the tables. */
type Set = (at: number, name: string, immediate: Immediate, cost?: number) => void;

function table(fill: (set: Set) => void): (Instruction | undefined)[] {
	const entries: (Instruction | undefined)[] = [];
	fill((at, _name, immediate, cost = PLAIN) => {
		entries[at] = { immediate, cost };
	});
	return entries;
}

function range(first: number, last: number, each: (at: number) => void): void {
	for (let at = first; at <= last; at += 1) each(at);
}
