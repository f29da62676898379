/** The modules that this runner keeps compiled, by digest. */
import { WasmCell } from "./cell.ts";
import { boundMemory } from "./memory.ts";
import { type ModuleShape, PAGE_BYTES, readModule } from "./module.ts";

/** workerd's `unsafeEval` binding. */
export interface UnsafeEval {
	newWasmModule(bytes: Uint8Array): WebAssembly.Module;
}

/** A module that begins with more memory than this has no spare cell. */
const SPARE_PAGES = 4;

/** One deployed module. Kept as bytes too: another memory limit needs another compilation. */
export class StoredModule {
	readonly #bytes: Uint8Array;
	readonly #shape: ModuleShape;
	readonly #compile: (bytes: Uint8Array) => WebAssembly.Module;
	readonly #compiled = new Map<number, WebAssembly.Module>();
	#spare: { module: WebAssembly.Module; cell: WasmCell } | undefined;

	/** Throws {@link ModuleError} for a module that breaks a rule, `CompileError` for one that is not valid. */
	constructor(bytes: Uint8Array, unsafeEval: UnsafeEval) {
		this.#bytes = bytes;
		this.#shape = readModule(bytes, { metered: true });
		this.#compile = (it) => unsafeEval.newWasmModule(it);
		const { maximumPages } = this.#shape.memory;
		if (maximumPages === undefined) this.#compile(bytes);
		else this.#compiled.set(maximumPages, this.#compile(bytes));
	}

	/** Ready to instantiate with at most `memoryBytes` of memory. Throws {@link ModuleError} when it needs more. */
	within(memoryBytes: number): WebAssembly.Module {
		const pages = Math.floor(memoryBytes / PAGE_BYTES);
		const own = this.#shape.memory.maximumPages;
		const maximum = own !== undefined && own <= pages ? own : pages;
		const compiled = this.#compiled.get(maximum);
		if (compiled !== undefined) return compiled;
		const module = this.#compile(boundMemory(this.#bytes, memoryBytes, this.#shape));
		// One limit at a time is in use: a function's own.
		this.#compiled.clear();
		this.#compiled.set(maximum, module);
		return module;
	}

	/** A cell for one run, the spare one if there is one. Throws as {@link within} and {@link WasmCell} do. */
	take(memoryBytes: number): WasmCell {
		const module = this.within(memoryBytes);
		const spare = this.#spare;
		this.#spare = undefined;
		return spare?.module === module ? spare.cell : new WasmCell(module);
	}

	/** Makes a spare cell, so that the next run need not wait for it. What cannot be had shows at the run. */
	prepare(memoryBytes: number): void {
		if (this.#spare !== undefined || this.#shape.memory.minimumPages > SPARE_PAGES) return;
		try {
			const module = this.within(memoryBytes);
			this.#spare = { module, cell: new WasmCell(module) };
		} catch {
			this.#spare = undefined;
		}
	}
}
