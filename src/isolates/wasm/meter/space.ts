/** The numbers of a module's types, functions and globals, before and after it is metered. */

import type { Arity } from "../module.ts";
import { ModuleError } from "../reader.ts";
import type { Helper } from "./charge.ts";

/** What a module has. Its own numbers end there: what the meter adds comes after them, out of its reach. */
export interface Counts {
	types: readonly Arity[];
	/** Imported functions. */
	imports: number;
	/** The types of imported functions and of its own. */
	functions: readonly number[];
	globals: number;
	/** Pages that its memory may have. */
	pages: number;
}

/**
 * The meter imports one function, behind the module's imports, so that the module's own functions move up by one. All
 * else that it adds has the numbers after the module's.
 */
export class Space {
	readonly #counts: Counts;
	/** The helpers that are needed, in the order of their numbers. */
	readonly helpers: Helper[] = [];

	constructor(counts: Counts) {
		this.#counts = counts;
	}

	/** The imported function that is called when the fuel is used up. */
	get refill(): number {
		return this.#counts.imports;
	}

	/** The global with the fuel that is left. */
	get fuel(): number {
		return this.#counts.globals;
	}

	get pages(): number {
		return this.#counts.pages;
	}

	/** The new number of a function of the module's. */
	function(index: number): number {
		if (index >= this.#counts.functions.length) throw new ModuleError(`there is no function ${index}`);
		return index < this.#counts.imports ? index : index + 1;
	}

	/** Whether a function, by the module's own number, is the host's. */
	isImport(index: number): boolean {
		return index < this.#counts.imports;
	}

	/** The number of a helper, which is made when it is first asked for. */
	helper(helper: Helper): number {
		let at = this.helpers.indexOf(helper);
		if (at < 0) at = this.helpers.push(helper) - 1;
		return this.#counts.functions.length + 1 + at;
	}

	checkGlobal(index: number): void {
		if (index >= this.#counts.globals) throw new ModuleError(`there is no global ${index}`);
	}

	/** What a type's functions and blocks take and give. */
	type(index: number): Arity {
		const arity = this.#counts.types[index];
		if (arity === undefined) throw new ModuleError(`there is no type ${index}`);
		return arity;
	}

	/** What a function takes and gives, by the module's own number. */
	arity(index: number): Arity {
		const type = this.#counts.functions[index];
		if (type === undefined) throw new ModuleError(`there is no function ${index}`);
		return this.type(type);
	}
}
