/** Writes the WASM binary format. Grows as it is written to. */
export class Writer {
	#bytes: Uint8Array;
	#length = 0;

	constructor(capacity = 1024) {
		this.#bytes = new Uint8Array(capacity);
	}

	get length(): number {
		return this.#length;
	}

	/** What has been written; valid until the next write. */
	get written(): Uint8Array {
		return this.#bytes.subarray(0, this.#length);
	}

	clear(): void {
		this.#length = 0;
	}

	byte(value: number): void {
		this.#reserve(1);
		this.#bytes[this.#length] = value;
		this.#length += 1;
	}

	bytes(values: ArrayLike<number>): void {
		this.#reserve(values.length);
		this.#bytes.set(values, this.#length);
		this.#length += values.length;
	}

	/** An unsigned 32-bit LEB128 number. */
	u32(value: number): void {
		let rest = value >>> 0;
		for (; rest > 0x7f; rest >>>= 7) this.byte((rest & 0x7f) | 0x80);
		this.byte(rest);
	}

	/** A signed 32-bit LEB128 number. */
	s32(value: number): void {
		let rest = value | 0;
		for (; rest < -64 || rest > 63; rest >>= 7) this.byte((rest & 0x7f) | 0x80);
		this.byte(rest & 0x7f);
	}

	name(text: string): void {
		this.vector(new TextEncoder().encode(text));
	}

	/** Bytes with their length before them. */
	vector(values: ArrayLike<number>): void {
		this.u32(values.length);
		this.bytes(values);
	}

	section(id: number, content: Writer): void {
		this.byte(id);
		this.vector(content.written);
	}

	#reserve(count: number): void {
		const needed = this.#length + count;
		if (needed <= this.#bytes.length) return;
		const larger = new Uint8Array(Math.max(needed, 2 * this.#bytes.length));
		larger.set(this.written);
		this.#bytes = larger;
	}
}
