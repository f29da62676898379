/** Reads the WASM binary format, in bounds: whatever does not fit is a {@link ModuleError}. */

/** A module that cannot run here, with the reason for its author. */
export class ModuleError extends Error {
	constructor(message: string) {
		super(message);
		this.name = "ModuleError";
	}
}

export class Reader {
	readonly #bytes: Uint8Array;
	#at: number;
	readonly #end: number;

	constructor(bytes: Uint8Array, start = 0, end = bytes.byteLength) {
		this.#bytes = bytes;
		this.#at = start;
		this.#end = end;
	}

	get offset(): number {
		return this.#at;
	}

	get done(): boolean {
		return this.#at >= this.#end;
	}

	byte(): number {
		const byte = this.#at < this.#end ? this.#bytes[this.#at] : undefined;
		if (byte === undefined) throw new ModuleError(`the module is cut off at byte ${this.#at}`);
		this.#at += 1;
		return byte;
	}

	/** An unsigned 32-bit LEB128 number. */
	u32(): number {
		let value = 0;
		for (let shift = 0; shift < 35; shift += 7) {
			const byte = this.byte();
			value += (byte & 0x7f) * 2 ** shift;
			if (byte < 0x80) {
				if (value > 0xffffffff) break;
				return value;
			}
		}
		throw new ModuleError(`the number at byte ${this.#at} does not fit 32 bits`);
	}

	/** An unsigned LEB128 number of at most 64 bits (limits of memories and tables). */
	u64(): bigint {
		let value = 0n;
		for (let shift = 0n; shift < 70n; shift += 7n) {
			const byte = this.byte();
			value |= BigInt(byte & 0x7f) << shift;
			if (byte < 0x80) return value;
		}
		throw new ModuleError(`the number at byte ${this.#at} does not fit 64 bits`);
	}

	/** A reader of the next `length` bytes, which this one skips. */
	part(length: number): Reader {
		if (length > this.#end - this.#at) throw new ModuleError(`the module is cut off at byte ${this.#end}`);
		const part = new Reader(this.#bytes, this.#at, this.#at + length);
		this.#at += length;
		return part;
	}

	/** A reader of the same bytes, from here on. */
	fork(): Reader {
		return new Reader(this.#bytes, this.#at, this.#end);
	}

	/** All that has not been read, which this one skips. */
	rest(): Uint8Array {
		const rest = this.#bytes.subarray(this.#at, this.#end);
		this.#at = this.#end;
		return rest;
	}

	name(): string {
		const length = this.u32();
		const start = this.#at;
		this.part(length);
		try {
			return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(
				this.#bytes.subarray(start, start + length),
			);
		} catch {
			throw new ModuleError(`the name at byte ${start} is not UTF-8`);
		}
	}

	/** A vector: a count and that many items. A count is never trusted for an allocation. */
	list<T>(item: () => T): T[] {
		const items: T[] = [];
		for (let count = this.u32(); count > 0; count -= 1) items.push(item());
		return items;
	}

	/** Nothing may follow what has been read. */
	finish(what: string): void {
		if (!this.done) throw new ModuleError(`the ${what} has bytes left over at byte ${this.#at}`);
	}
}
