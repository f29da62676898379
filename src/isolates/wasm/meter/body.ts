/** Meters the body of one function. */
import type { Arity } from "../module.ts";
import { ModuleError, type Reader } from "../reader.ts";
import { writeCharge } from "./charge.ts";
import { type Immediate, type Instruction, numeric, plain, proposalOf, simd } from "./opcodes.ts";
import { NONE, Segments } from "./segments.ts";
import type { Space } from "./space.ts";
import type { Writer } from "./writer.ts";

const BLOCK = 0x02;
const LOOP = 0x03;
const IF = 0x04;
const ELSE = 0x05;
const END = 0x0b;
const BR_IF = 0x0d;
const RETURN = 0x0f;
const CALL = 0x10;
const CALL_INDIRECT = 0x11;
/** The value types, as bytes: i32, i64, f32, f64, v128, funcref, externref. */
const VALUE_TYPES = [0x7f, 0x7e, 0x7d, 0x7c, 0x7b, 0x70, 0x6f];
/** func, extern, nofunc, noextern: all that a null can be of. */
const HEAP_TYPES = [0x70, 0x6f, 0x73, 0x72];
const NO_RESULT = 0x40;
/** Labels that a function may have around one place: an engine takes no more either. */
const MAX_DEPTH = 10_000;
/** Locals that a function may have beside its parameters; an engine takes 50,000 and sets them all to zero at each call. */
const MAX_LOCALS = 10_000;
const V128 = 0x7b;
/** Locals of eight bytes that a fuel sets to zero. */
const LOCALS_PER_FUEL = 2;

/** Values that a call takes and gives in registers. */
const IN_REGISTERS: Arity = { parameters: 8, results: 2 };
/** What a block without a type takes and gives. */
const NOTHING: Arity = { parameters: 0, results: 0 };
const ONE_RESULT: Arity = { parameters: 0, results: 1 };

/** A block that has not ended. The function itself is the outermost one. */
interface Frame {
	kind: number;
	/** How many values a branch to it carries. */
	readonly carried: number;
	/** The segment before the block. */
	readonly before: number;
	/** The outermost block that a branch within this one leads to, counted from the function. */
	outermost: number;
}

/** A place in the body, and what comes there in the stead of the bytes up to `until`. */
type Patch = { at: number; until: number } & (
	| { what: "charge"; segment: number }
	/** An instruction with another number: `0x10 7` becomes `0x10 8`. */
	| { what: "function"; opcode: number; index: number }
	/** A bulk instruction is left as it is: a call before it charges its length. */
	| { what: "helper"; index: number }
);

/** Writes the metered body of a function that takes and gives so many values. `body` is read to its end; `bytes` are the module's. */
export function meterBody(bytes: Uint8Array, body: Reader, arity: Arity, space: Space, out: Writer): void {
	const start = body.offset;
	const { patches, segments, calls } = new Body(body, arity, space).read();
	let copied = start;
	for (const patch of patches) {
		out.bytes(bytes.subarray(copied, patch.at));
		copied = patch.until;
		switch (patch.what) {
			case "charge": {
				const { cost, checked } = segments.charge(patch.segment, calls);
				if (cost > 0) writeCharge(out, space, cost, checked);
				break;
			}
			case "function":
				out.byte(patch.opcode);
				out.u32(patch.index);
				break;
			case "helper":
				out.byte(CALL);
				out.u32(patch.index);
				break;
		}
	}
	out.bytes(bytes.subarray(copied, body.offset));
}

class Body {
	readonly #in: Reader;
	readonly #arity: Arity;
	readonly #space: Space;
	readonly #frames: Frame[] = [];
	readonly segments = new Segments();
	readonly patches: Patch[] = [];
	/** Whether it calls functions. */
	calls = false;
	/** Whether the last call was of one of the host's. */
	#host = false;
	#segment = NONE;
	/** Of the block that begins. */
	#block: Arity = NOTHING;

	constructor(body: Reader, arity: Arity, space: Space) {
		this.#in = body;
		this.#arity = arity;
		this.#space = space;
	}

	read(): this {
		const locals = this.#readLocals();
		const { results } = this.#arity;
		this.#frames.push({ kind: BLOCK, carried: results, before: NONE, outermost: Number.POSITIVE_INFINITY });
		this.#open(NONE, true);
		this.segments.add(this.#segment, locals);
		while (this.#frames.length > 0) this.#instruction();
		this.#in.finish("function's body");
		this.segments.settle();
		return this;
	}

	/** Gives the fuel that setting the locals to zero costs, at each call. */
	#readLocals(): number {
		let [locals, slots] = [0, 0];
		for (let groups = this.#in.u32(); groups > 0; groups -= 1) {
			const count = this.#in.u32();
			locals += count;
			if (locals > MAX_LOCALS) throw new ModuleError(`a function has more than ${MAX_LOCALS} locals`);
			slots += readValueType(this.#in) === V128 ? 2 * count : count;
		}
		return Math.ceil(slots / LOCALS_PER_FUEL);
	}

	#instruction(): void {
		const at = this.#in.offset;
		const opcode = this.#in.byte();
		if (opcode === 0xfc) {
			const number = this.#in.u32();
			this.#bulk(at, number, this.#known(numeric[number], `0xfc ${number}`, opcode));
			return;
		}
		if (opcode === 0xfd) {
			const number = this.#in.u32();
			this.#operands(this.#known(simd[number], `0xfd ${number}`, opcode), at, opcode);
			return;
		}
		const instruction = this.#known(plain[opcode], `0x${opcode.toString(16)}`, opcode);
		if (opcode === 0x40) this.#charge(at, "pages");
		this.#operands(instruction, at, opcode);
		this.#control(opcode);
		// What the host does for the module it takes off the fuel, and cannot itself let others run.
		if (opcode === CALL_INDIRECT || (opcode === CALL && this.#host)) this.#open(this.#segment, true);
	}

	#known(instruction: Instruction | undefined, code: string, opcode: number): Instruction {
		if (instruction === undefined) {
			throw new ModuleError(
				`the instruction ${code} at byte ${this.#in.offset - 1} cannot be metered: it belongs to ${proposalOf(opcode)}`,
			);
		}
		this.segments.add(this.#segment, instruction.cost);
		return instruction;
	}

	#bulk(at: number, number: number, instruction: Instruction): void {
		if (number === 8 || number === 10 || number === 11) this.#charge(at, "bytes");
		if (number === 12 || number === 14 || number === 15 || number === 17) this.#charge(at, "elements");
		this.#operands(instruction, at, 0xfc);
	}

	/** Opens, ends and leaves blocks; the operands have been read. */
	#control(opcode: number): void {
		switch (opcode) {
			case BLOCK:
				this.#push(opcode);
				break;
			case LOOP:
				this.#push(opcode);
				this.#open(this.#segment, true);
				break;
			case IF:
				this.#push(opcode);
				this.#open(this.#segment, false);
				break;
			case ELSE: {
				const frame = this.#frames.at(-1);
				if (frame?.kind !== IF)
					throw new ModuleError(`an else without its if at byte ${this.#in.offset - 1}`);
				frame.kind = ELSE;
				this.#open(frame.before, false);
				break;
			}
			case END:
				this.#end();
				break;
			case BR_IF:
				this.#open(this.#segment, false);
				break;
			case RETURN:
				this.#leaveTo(0);
				this.#segment = NONE;
				break;
			case 0x00: // unreachable
			case 0x0c: // br
			case 0x0e: // br_table
				this.#segment = NONE;
				break;
		}
	}

	#push(kind: number): void {
		if (this.#frames.length >= MAX_DEPTH) {
			throw new ModuleError(`a function has more than ${MAX_DEPTH} blocks within each other`);
		}
		const { parameters, results } = this.#block;
		// What it takes is carried in once, what it gives is carried out once: branches pay for themselves.
		this.segments.add(this.#segment, moved(parameters) + moved(results));
		const carried = kind === LOOP ? parameters : results;
		this.#frames.push({ kind, carried, before: this.#segment, outermost: Number.POSITIVE_INFINITY });
	}

	#end(): void {
		const frame = this.#frames.pop();
		const parent = this.#frames.at(-1);
		if (frame === undefined || parent === undefined) return;
		parent.outermost = Math.min(parent.outermost, frame.outermost);
		// Left past its end, what follows is not run each time that the block is.
		if (frame.outermost < this.#frames.length) this.#open(frame.before, false);
		else this.#segment = frame.before;
	}

	/** Begins a segment here. */
	#open(before: number, header: boolean): void {
		this.#segment = this.segments.open(before, header);
		if (this.#segment === NONE) return;
		const at = this.#in.offset;
		this.patches.push({ at, until: at, what: "charge", segment: this.#segment });
	}

	/** A branch to the block of that number, counted from the function. */
	#leaveTo(target: number): void {
		const frame = this.#frames.at(-1);
		if (frame !== undefined) frame.outermost = Math.min(frame.outermost, target);
	}

	/** Gives how many values the branch carries. */
	#readLabel(): number {
		const depth = this.#in.u32();
		const target = this.#frames.length - 1 - depth;
		if (target < 0) throw new ModuleError(`a branch leaves ${depth} blocks at byte ${this.#in.offset}`);
		this.#leaveTo(target);
		return this.#frames[target]?.carried ?? 0;
	}

	/** A table of branches, which is searched. */
	#readLabels(): void {
		const count = this.#in.u32();
		let carried = 0;
		for (let left = count; left >= 0; left -= 1) carried = Math.max(carried, this.#readLabel());
		this.segments.add(this.#segment, moved(carried) + Math.ceil(Math.log2(count + 1)));
	}

	/** What a call carries beside what goes in registers. */
	#carry({ parameters, results }: Arity): void {
		const [more, back] = [parameters - IN_REGISTERS.parameters, results - IN_REGISTERS.results];
		this.segments.add(this.#segment, Math.max(0, more) + Math.max(0, back));
	}

	#charge(at: number, helper: "bytes" | "elements" | "pages"): void {
		this.patches.push({ at, until: at, what: "helper", index: this.#space.helper(helper) });
	}

	#operands({ immediate }: { immediate: Immediate }, at: number, opcode: number): void {
		const it = this.#in;
		switch (immediate) {
			case "none":
				break;
			case "block":
				this.#readBlockType();
				break;
			case "label":
				this.segments.add(this.#segment, moved(this.#readLabel()));
				break;
			case "labels":
				this.#readLabels();
				break;
			case "function":
				if (opcode === CALL) this.calls = true;
				this.#moveFunction(at, opcode);
				break;
			case "indirect":
				this.calls = true;
				this.#carry(this.#space.type(it.u32()));
				it.u32();
				break;
			case "types":
				it.list(() => readValueType(it));
				break;
			case "index":
				it.u32();
				break;
			case "index2":
				it.u32();
				it.u32();
				break;
			case "global":
				this.#space.checkGlobal(it.u32());
				break;
			case "memory":
				readMemoryArgument(it);
				break;
			case "memoryLane":
				readMemoryArgument(it);
				it.byte();
				break;
			case "zero":
				readZero(it);
				break;
			case "zero2":
				readZero(it);
				readZero(it);
				break;
			case "init":
				it.u32();
				readZero(it);
				break;
			case "i32":
				skipNumber(it, 5);
				break;
			case "i64":
				skipNumber(it, 10);
				break;
			case "bytes4":
				it.part(4);
				break;
			case "bytes8":
				it.part(8);
				break;
			case "bytes16":
				it.part(16);
				break;
			case "lane":
				it.byte();
				break;
			case "heap":
				readHeapType(it);
				break;
		}
	}

	#moveFunction(at: number, opcode: number): void {
		const index = this.#in.u32();
		const number = this.#space.function(index);
		this.#host = this.#space.isImport(index);
		if (opcode === CALL) this.#carry(this.#space.arity(index));
		if (number === index) return;
		this.patches.push({ at, until: this.#in.offset, what: "function", opcode, index: number });
	}

	#readBlockType(): void {
		const at = this.#in.offset;
		const first = this.#in.byte();
		this.#block = first === NO_RESULT ? NOTHING : ONE_RESULT;
		if (first === NO_RESULT || VALUE_TYPES.includes(first)) return;
		// A type's number, which is a signed one: 0x40 would be its sign.
		let [value, byte] = [first & 0x7f, first];
		for (let scale = 0x80; byte >= 0x80 && scale <= 0x10_0000_0000; scale *= 0x80) {
			byte = this.#in.byte();
			value += (byte & 0x7f) * scale;
		}
		if (byte >= 0x40) throw new ModuleError(`the block type at byte ${at} is not supported`);
		this.#block = this.#space.type(value);
	}
}

/** The fuel for values that are carried to where they are wanted: the first one is where it is. */
function moved(values: number): number {
	return Math.max(0, values - 1);
}

export function readValueType(it: Reader): number {
	const byte = it.byte();
	if (!VALUE_TYPES.includes(byte)) {
		throw new ModuleError(`the value type 0x${byte.toString(16)} is not supported`);
	}
	return byte;
}

export function readHeapType(it: Reader): void {
	const byte = it.byte();
	if (!HEAP_TYPES.includes(byte)) throw new ModuleError("the module uses an unsupported reference type");
}

/** A signed number of at most that many bytes. */
export function skipNumber(it: Reader, most: number): void {
	for (let count = 0; count < most; count += 1) if (it.byte() < 0x80) return;
	throw new ModuleError(`the number at byte ${it.offset} is too long`);
}

function readMemoryArgument(it: Reader): void {
	const alignment = it.u32();
	if (alignment >= 0x40) throw new ModuleError("the module uses several memories, which are not supported");
	it.u32();
}

function readZero(it: Reader): void {
	if (it.byte() !== 0) throw new ModuleError("the module uses several memories, which are not supported");
}
