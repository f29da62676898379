/**
 * Meters a WASM module: writes the accounting of its fuel into it. One fuel is about one instruction. Each segment of code
 * (segments.ts) takes its cost off a counter where it begins; functions and loops then look whether any is left, and call
 * an import that gives more, lets others run meanwhile, or ends the script. Bulk instructions pay by their length.
 *
 * What the meter adds has numbers behind the module's own, and no instruction of the module may use those: a script cannot
 * reach its counter.
 */
import { MAX_PAGES, type ModuleShape, readModule, sections } from "../module.ts";
import { ModuleError, type Reader } from "../reader.ts";
import { meterBody, readHeapType, readValueType, skipNumber } from "./body.ts";
import { writeHelper } from "./charge.ts";
import { moveNames } from "./name-section.ts";
import { FUEL, METER, REFILL } from "./names.ts";
import { Space } from "./space.ts";
import { Writer } from "./writer.ts";

/** Sections by their numbers. */
const [TYPE, IMPORT, FUNCTION, GLOBAL, EXPORT, ELEMENT, CODE] = [1, 2, 3, 6, 7, 9, 10];
/** The order in which they are written. */
const ORDER = [TYPE, IMPORT, FUNCTION, 4, 5, GLOBAL, EXPORT, ELEMENT, 12, CODE, 11];

/**
 * The metered module. Of custom sections it keeps the functions' names only: the others speak of the code as it was.
 * Throws {@link ModuleError} for a module that breaks a rule or cannot be metered, with the reason. Whether the code is
 * valid the engine checks when it compiles the result.
 */
export function meter(bytes: Uint8Array): Uint8Array {
	return new Meter(bytes).run();
}

class Meter {
	readonly #bytes: Uint8Array;
	readonly #sections = new Map<number, Reader>();
	readonly #shape: ModuleShape;
	readonly #space: Space;
	/** The number of the type () → (), with (i32) → (i32) after it. */
	readonly #types: number;
	#names: Writer | undefined;

	constructor(bytes: Uint8Array) {
		this.#bytes = bytes;
		this.#shape = readModule(bytes);
		const { types, importedFunctions: imports, functions, memory } = this.#shape;
		for (const { id, content } of sections(bytes)) {
			if (id !== 0) this.#sections.set(id, content);
		}
		const globals = this.#sections.get(GLOBAL)?.fork().u32() ?? 0;
		this.#types = types.length;
		this.#space = new Space({ types, imports, functions, globals, pages: memory.maximumPages ?? MAX_PAGES });
	}

	run(): Uint8Array {
		this.#names = moveNames(this.#bytes, this.#space);
		// The code comes first: it says which helpers there are.
		const code = this.#code();
		const out = new Writer(2 * this.#bytes.length + 256);
		out.bytes(this.#bytes.subarray(0, 8));
		for (const id of ORDER) {
			const content = id === CODE ? code : this.#section(id);
			if (content !== undefined) out.section(id, content);
		}
		if (this.#names !== undefined) out.section(0, this.#names);
		return out.written.slice();
	}

	/** A section's new content; undefined for one that is not there. */
	#section(id: number): Writer | undefined {
		const helpers = this.#space.helpers.length;
		switch (id) {
			case TYPE:
				return this.#extended(id, 2, (out) => out.bytes([0x60, 0, 0, 0x60, 1, 0x7f, 1, 0x7f]));
			case IMPORT:
				return this.#extended(id, 1, (out) => {
					out.name(METER);
					out.name(REFILL);
					out.byte(0);
					out.u32(this.#types);
				});
			case FUNCTION:
				return this.#extended(id, helpers, (out) => {
					for (let count = helpers; count > 0; count -= 1) out.u32(this.#types + 1);
				});
			case GLOBAL:
				return this.#items(
					id,
					1,
					(it, out) => this.#global(it, out),
					// i32, mutable, 0
					(out) => out.bytes([0x7f, 1, 0x41, 0, 0x0b]),
				);
			case EXPORT:
				return this.#items(
					id,
					1,
					(it, out) => this.#export(it, out),
					(out) => {
						out.name(FUEL);
						out.byte(3);
						out.u32(this.#space.fuel);
					},
				);
			case ELEMENT:
				return this.#sections.has(id) ? this.#items(id, 0, (it, out) => this.#element(it, out)) : undefined;
			default:
				return this.#sections.has(id) ? this.#extended(id, 0) : undefined;
		}
	}

	/** A list with some more items at its end; those it has stay as they are. */
	#extended(id: number, more: number, write: (out: Writer) => void = () => {}): Writer {
		const out = new Writer();
		const content = this.#sections.get(id)?.fork();
		out.u32((content?.u32() ?? 0) + more);
		if (content !== undefined) out.bytes(content.rest());
		write(out);
		return out;
	}

	/** A list whose items are written anew, with some more at its end. */
	#items(
		id: number,
		more: number,
		each: (it: Reader, out: Writer) => void,
		write: (out: Writer) => void = () => {},
	): Writer {
		const out = new Writer();
		const content = this.#sections.get(id)?.fork();
		const count = content?.u32() ?? 0;
		out.u32(count + more);
		if (content !== undefined) {
			for (let left = count; left > 0; left -= 1) each(content, out);
			content.finish(`section ${id}`);
		}
		write(out);
		return out;
	}

	#code(): Writer {
		const out = new Writer(2 * this.#bytes.length);
		const content = this.#sections.get(CODE)?.fork();
		const count = content?.u32() ?? 0;
		const { functions, importedFunctions } = this.#shape;
		const expected = functions.length - importedFunctions;
		if (count !== expected) throw new ModuleError(`the module has ${expected} functions and ${count} bodies`);
		const body = new Writer();
		const bodies = new Writer(2 * this.#bytes.length);
		for (let at = 0; at < count && content !== undefined; at += 1) {
			body.clear();
			const arity = this.#space.arity(importedFunctions + at);
			meterBody(this.#bytes, content.part(content.u32()), arity, this.#space, body);
			bodies.vector(body.written);
		}
		content?.finish("code section");
		for (const helper of this.#space.helpers) {
			body.clear();
			writeHelper(body, this.#space, helper);
			bodies.vector(body.written);
		}
		out.u32(count + this.#space.helpers.length);
		out.bytes(bodies.written);
		return out;
	}

	#global(it: Reader, out: Writer): void {
		out.byte(readValueType(it));
		out.byte(it.byte());
		this.#constant(it, out);
	}

	#export(it: Reader, out: Writer): void {
		const name = it.name();
		if (name === FUEL) throw new ModuleError(`the export "${FUEL}" is the meter's own`);
		out.name(name);
		const kind = it.byte();
		const index = it.u32();
		if (kind === 3) this.#space.checkGlobal(index);
		out.byte(kind);
		out.u32(kind === 0 ? this.#space.function(index) : index);
	}

	#element(it: Reader, out: Writer): void {
		const flags = it.u32();
		if (flags > 7) throw new ModuleError(`an element segment of the unknown kind ${flags}`);
		const [passive, numbered, expressions] = [(flags & 1) !== 0, (flags & 2) !== 0, (flags & 4) !== 0];
		out.u32(flags);
		if (!passive) {
			if (numbered) out.u32(it.u32());
			this.#constant(it, out);
		}
		if (passive || numbered) out.byte(it.byte());
		const count = it.u32();
		out.u32(count);
		for (let left = count; left > 0; left -= 1) {
			if (expressions) this.#constant(it, out);
			else out.u32(this.#space.function(it.u32()));
		}
	}

	/** A constant expression, up to its end. */
	#constant(it: Reader, out: Writer): void {
		for (;;) {
			const start = it.offset;
			const opcode = it.byte();
			switch (opcode) {
				case 0x0b:
					out.byte(opcode);
					return;
				case 0xd2:
					out.byte(opcode);
					out.u32(this.#space.function(it.u32()));
					continue;
				case 0x41:
					skipNumber(it, 5);
					break;
				case 0x42:
					skipNumber(it, 10);
					break;
				case 0x43:
					it.part(4);
					break;
				case 0x44:
					it.part(8);
					break;
				case 0xfd:
					if (it.u32() !== 12) throw new ModuleError(`byte ${start} is no constant`);
					it.part(16);
					break;
				case 0x23:
					this.#space.checkGlobal(it.u32());
					break;
				case 0xd0:
					readHeapType(it);
					break;
				default:
					// Sums, differences and products of constants.
					if (![0x6a, 0x6b, 0x6c, 0x7c, 0x7d, 0x7e].includes(opcode)) {
						throw new ModuleError(`byte ${start} is no constant`);
					}
			}
			out.bytes(this.#bytes.subarray(start, it.offset));
		}
	}
}
