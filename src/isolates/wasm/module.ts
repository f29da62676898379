/**
 * What a WASM initscript must look like, checked on its binary: imports only of the API, one memory of its own, no start
 * section. Whether its code is valid the engine checks when it compiles.
 */
import { importParameters } from "../generated/signatures.ts";
import { FUEL, METER, REFILL } from "./meter/names.ts";
import { ModuleError, Reader } from "./reader.ts";

export const PAGE_BYTES = 65_536;
/** Of any memory. */
export const MAX_PAGES = 65_536;
/** Bytes of a module: what the host, which is one thread, meters within a few tenths of a second, whatever its code is. */
export const MAX_MODULE_BYTES = 1 << 20;
/** The same of a metered one: an empty loop of three bytes becomes one of twenty. */
const MAX_METERED_BYTES = 8 * MAX_MODULE_BYTES;
/** Its tables, and the entries of all of them: they lie beside the memory that a run may have. */
const MAX_TABLES = 8;
const MAX_TABLE_ENTRIES = 65_536;
/** What a function or a block may take and give: a call or a branch carries all of it, which takes its time. */
const MAX_PARAMETERS = 64;
const MAX_RESULTS = 16;

/** The exports that the runner knows. */
export const ENTRY = "headstart_main";
export const MEMORY = "memory";
/** Run before the entry when it is there: AssemblyScript's and C++'s top-level statements. */
export const INITIALIZE = "_initialize";

export interface ModuleShape {
	/** Where the memory section's content lies in the binary. */
	memory: { start: number; end: number; minimumPages: number; maximumPages: number | undefined };
	/** How many values each of its types takes and gives. */
	types: readonly Arity[];
	/** The types of its functions, imported ones first. */
	functions: readonly number[];
	importedFunctions: number;
}

/** How many values go in and come out. */
export interface Arity {
	readonly parameters: number;
	readonly results: number;
}

type ValueType = "i32" | "i64" | "other";

interface FunctionType {
	parameters: ValueType[];
	results: ValueType[];
}

/** Section numbers, in the order in which they may come (custom sections lie anywhere). */
const SECTIONS = new Map([
	[1, "type"],
	[2, "import"],
	[3, "function"],
	[4, "table"],
	[5, "memory"],
	[13, "tag"],
	[6, "global"],
	[7, "export"],
	[8, "start"],
	[9, "element"],
	[12, "data count"],
	[10, "code"],
	[11, "data"],
]);

/**
 * Reads a module and checks it against the rules. Throws {@link ModuleError} with the first reason. `metered` says that it
 * has its meter (meter/), which nobody's own module may look like.
 */
export function readModule(bytes: Uint8Array, { metered = false } = {}): ModuleShape {
	const most = metered ? MAX_METERED_BYTES : MAX_MODULE_BYTES;
	if (bytes.byteLength > most) {
		throw new ModuleError(`the module has ${bytes.byteLength} bytes; at most ${most} are allowed`);
	}
	const parts = new ModuleParts(metered);
	for (const { id, content } of sections(bytes)) if (id !== 0) parts.section(id, content);
	return parts.finish();
}

/** The sections in their order; custom ones have the number 0. */
export function* sections(bytes: Uint8Array): Generator<{ id: number; content: Reader }> {
	const reader = new Reader(bytes);
	const magic = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
	if (bytes.byteLength < 8 || magic.some((byte) => reader.byte() !== byte)) {
		throw new ModuleError("this is not a WebAssembly module of version 1");
	}
	const order = [...SECTIONS.keys()];
	let last = -1;
	while (!reader.done) {
		const id = reader.byte();
		const content = reader.part(reader.u32());
		if (id === 0) {
			yield { id, content };
			continue;
		}
		const place = order.indexOf(id);
		if (place < 0) throw new ModuleError(`section ${id} is not known`);
		if (place <= last) throw new ModuleError(`the ${SECTIONS.get(id)} section comes twice or out of order`);
		last = place;
		yield { id, content };
	}
}

/** Collects what the rules speak of. */
class ModuleParts {
	#types: FunctionType[] = [];
	/** The type of each function, imported ones first. */
	readonly #functions: number[] = [];
	readonly #exports = new Map<string, { kind: number; index: number }>();
	readonly #metered: boolean;
	#importedFunctions = 0;
	#memory: ModuleShape["memory"] | undefined;

	constructor(metered: boolean) {
		this.#metered = metered;
	}

	section(id: number, section: Reader): void {
		const read = this.#reader(id);
		if (read === undefined) return;
		read(section);
		section.finish(`${SECTIONS.get(id)} section`);
	}

	finish(): ModuleShape {
		if (this.#memory === undefined) throw new ModuleError("the module has no memory of its own");
		const memory = this.#exports.get(MEMORY);
		if (memory?.kind !== 2) throw new ModuleError(`the module must export its memory as "${MEMORY}"`);
		const entry = this.#functionType(ENTRY);
		if (entry === undefined) {
			throw new ModuleError(`the module must export the function "${ENTRY}", where the initscript begins`);
		}
		const status = entry.results.length === 0 || (entry.results.length === 1 && entry.results[0] === "i32");
		if (entry.parameters.length > 0 || !status) {
			throw new ModuleError(`"${ENTRY}" must take nothing and return nothing or an i32 (the exit status)`);
		}
		const initialize = this.#functionType(INITIALIZE);
		if (initialize !== undefined && initialize.parameters.length + initialize.results.length > 0) {
			throw new ModuleError(`"${INITIALIZE}" must take nothing and return nothing`);
		}
		if (this.#metered && this.#exports.get(FUEL)?.kind !== 3) {
			throw new ModuleError("the module is not metered: deploy it again");
		}
		return {
			memory: this.#memory,
			types: this.#types.map(({ parameters, results }) => ({
				parameters: parameters.length,
				results: results.length,
			})),
			functions: this.#functions,
			importedFunctions: this.#importedFunctions,
		};
	}

	#functionType(name: string): FunctionType | undefined {
		const found = this.#exports.get(name);
		if (found?.kind !== 0) return undefined;
		return this.#type(this.#functions[found.index]);
	}

	#type(index: number | undefined): FunctionType {
		const type = index === undefined ? undefined : this.#types[index];
		if (type === undefined) throw new ModuleError("the module names a function type that it does not have");
		return type;
	}

	#reader(id: number): ((section: Reader) => void) | undefined {
		switch (id) {
			case 1:
				return (it) => {
					this.#types = it.list(() => readFunctionType(it));
				};
			case 2:
				return (it) => it.list(() => this.#readImport(it));
			case 3:
				return (it) => it.list(() => this.#functions.push(it.u32()));
			case 4:
				return (it) => checkTables(it.list(() => readTable(it)));
			case 5:
				return (it) => this.#readMemories(it);
			case 7:
				return (it) => it.list(() => this.#readExport(it));
			case 8:
				return () => {
					throw new ModuleError(
						`the module has a start section, which could not wait: let it be exported as "${INITIALIZE}"`,
					);
				};
			default:
				return undefined;
		}
	}

	#readImport(it: Reader): void {
		const module = it.name();
		const name = it.name();
		const where = `"${module}"."${name}"`;
		if (it.byte() !== 0)
			throw new ModuleError(`the import ${where} is no function; only the API may be imported`);
		const index = it.u32();
		const type = this.#type(index);
		if (module === "env" && name === "abort") {
			checkSignature(where, type, ["i32", "i32", "i32", "i32"], []);
		} else if (this.#metered && module === METER && name === REFILL) {
			checkSignature(where, type, [], []);
		} else {
			const parameters = module === "headstart" ? importParameters.get(name) : undefined;
			if (parameters === undefined) throw new ModuleError(unknownImport(module, name));
			checkSignature(where, type, parameters, ["i32"]);
		}
		this.#functions.push(index);
		this.#importedFunctions += 1;
	}

	#readMemories(it: Reader): void {
		const start = it.offset;
		if (it.u32() !== 1) throw new ModuleError("the module must have exactly one memory");
		const flags = it.byte();
		if (flags > 1) throw new ModuleError("the memory must be a plain one: not shared and not 64-bit");
		const minimumPages = it.u32();
		const maximumPages = flags === 1 ? it.u32() : undefined;
		if (minimumPages > MAX_PAGES || (maximumPages ?? 0) > MAX_PAGES) {
			throw new ModuleError("the memory is larger than 4 GiB");
		}
		if (maximumPages !== undefined && maximumPages < minimumPages) {
			throw new ModuleError("the memory's maximum is below its minimum");
		}
		this.#memory = { start, end: it.offset, minimumPages, maximumPages };
	}

	#readExport(it: Reader): void {
		const name = it.name();
		if (this.#exports.has(name)) throw new ModuleError(`the module exports "${name}" twice`);
		this.#exports.set(name, { kind: it.byte(), index: it.u32() });
	}
}

function readFunctionType(it: Reader): FunctionType {
	if (it.byte() !== 0x60)
		throw new ModuleError("the module uses garbage-collected types, which are not supported");
	const parameters = it.list(() => readValueType(it));
	const results = it.list(() => readValueType(it));
	if (parameters.length > MAX_PARAMETERS)
		throw new ModuleError(
			`a function or a block has ${parameters.length} parameters; at most ${MAX_PARAMETERS} are allowed`,
		);
	if (results.length > MAX_RESULTS)
		throw new ModuleError(
			`a function or a block has ${results.length} results; at most ${MAX_RESULTS} are allowed`,
		);
	return { parameters, results };
}

function readValueType(it: Reader): ValueType {
	const byte = it.byte();
	if (byte === 0x7f) return "i32";
	if (byte === 0x7e) return "i64";
	// f32, f64, v128, funcref, externref
	if ([0x7d, 0x7c, 0x7b, 0x70, 0x6f].includes(byte)) return "other";
	throw new ModuleError(`the value type 0x${byte.toString(16)} is not supported`);
}

/** Gives the most entries that the table can have. */
function readTable(it: Reader): number {
	const type = it.byte();
	if (type !== 0x70 && type !== 0x6f) throw new ModuleError("the module has a table of an unsupported type");
	const flags = it.byte();
	if (flags > 1) throw new ModuleError("the module has a table of an unsupported kind");
	const minimum = it.u32();
	const maximum = flags === 1 ? it.u32() : undefined;
	if (minimum > MAX_TABLE_ENTRIES || maximum === undefined || maximum > MAX_TABLE_ENTRIES) {
		throw new ModuleError(`a table must have a maximum of at most ${MAX_TABLE_ENTRIES} entries`);
	}
	return maximum;
}

function checkTables(maxima: readonly number[]): void {
	if (maxima.length > MAX_TABLES) throw new ModuleError(`the module has more than ${MAX_TABLES} tables`);
	if (maxima.reduce((sum, it) => sum + it, 0) > MAX_TABLE_ENTRIES) {
		throw new ModuleError(`the tables' maxima are more than ${MAX_TABLE_ENTRIES} entries together`);
	}
}

function checkSignature(
	where: string,
	type: FunctionType,
	parameters: readonly ValueType[],
	results: readonly ValueType[],
): void {
	const same = (a: readonly ValueType[], b: readonly ValueType[]): boolean =>
		a.length === b.length && a.every((it, index) => it === b[index]);
	if (!same(type.parameters, parameters) || !same(type.results, results)) {
		throw new ModuleError(
			`the import ${where} must have the type (${parameters.join(", ")}) -> (${results.join(", ")})`,
		);
	}
}

function unknownImport(module: string, name: string): string {
	if (module === "headstart") {
		return `"headstart" has no call "${name}"; it has ${[...importParameters.keys()].join(", ")}`;
	}
	const hint = module.startsWith("wasi") ? " (build it without WASI)" : "";
	return `the import "${module}"."${name}" is not there: an initscript imports only from "headstart"${hint}`;
}
