/** Writes Cap'n Proto messages: one segment that grows. */

const encoder = new TextEncoder();
const HEADER_BYTES = 8;

/** The sections of a struct: bytes of data (a multiple of 8) and number of pointers. */
export interface StructSize {
	readonly data: number;
	readonly pointers: number;
}

/** One message. `finish` gives it with its framing; it cannot be written after that. */
export class MessageWriter {
	#bytes: Uint8Array;
	#used = HEADER_BYTES;
	view: DataView;

	constructor(capacity = 512) {
		this.#bytes = new Uint8Array(capacity);
		this.view = new DataView(this.#bytes.buffer);
	}

	root(size: StructSize): StructWriter {
		return this.struct(this.allocate(8), size);
	}

	/** Allocates a struct and makes the pointer at `pointer` lead to it. */
	struct(pointer: number, size: StructSize): StructWriter {
		const at = this.allocate(size.data + size.pointers * 8);
		this.view.setUint32(pointer, ((at - pointer - 8) >> 3) << 2, true);
		this.view.setUint32(pointer + 4, (size.data >> 3) | (size.pointers << 16), true);
		return new StructWriter(this, at, size.data);
	}

	/** Allocates a list of structs; gives the place of its first element. */
	structs(pointer: number, size: StructSize, count: number): number {
		const words = ((size.data >> 3) + size.pointers) * count;
		const tag = this.allocate(8 + words * 8);
		this.#list(pointer, tag, 7, words);
		this.view.setUint32(tag, count << 2, true);
		this.view.setUint32(tag + 4, (size.data >> 3) | (size.pointers << 16), true);
		return tag + 8;
	}

	/** Allocates a list of pointers; gives the place of its first one. */
	pointers(pointer: number, count: number): number {
		const at = this.allocate(count * 8);
		this.#list(pointer, at, 6, count);
		return at;
	}

	bytes(pointer: number, value: Uint8Array): void {
		const at = this.allocate(value.length);
		this.#list(pointer, at, 2, value.length);
		this.#bytes.set(value, at);
	}

	text(pointer: number, value: string): void {
		const at = this.#used;
		// UTF-8 takes at most three bytes for a UTF-16 unit.
		this.#reserve(value.length * 3 + 8);
		const { written } = encoder.encodeInto(value, this.#bytes.subarray(at));
		this.#used = at + roundUp(written + 1);
		this.#bytes.fill(0, at + written, this.#used);
		this.#list(pointer, at, 2, written + 1);
	}

	/** The framed message. */
	finish(): Uint8Array<ArrayBuffer> {
		this.view.setUint32(4, (this.#used - HEADER_BYTES) >> 3, true);
		return new Uint8Array(this.view.buffer as ArrayBuffer, 0, this.#used);
	}

	allocate(bytes: number): number {
		const at = this.#used;
		const size = roundUp(bytes);
		this.#reserve(size);
		this.#used = at + size;
		return at;
	}

	#list(pointer: number, at: number, size: number, count: number): void {
		this.view.setUint32(pointer, (((at - pointer - 8) >> 3) << 2) | 1, true);
		this.view.setUint32(pointer + 4, (count << 3) | size, true);
	}

	#reserve(bytes: number): void {
		const needed = this.#used + bytes;
		if (needed <= this.#bytes.length) return;
		const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
		grown.set(this.#bytes.subarray(0, this.#used));
		this.#bytes = grown;
		this.view = new DataView(grown.buffer);
	}
}

/** One struct that is being written. Offsets are bytes of the data section, indexes those of the pointer section. */
export class StructWriter {
	readonly #message: MessageWriter;
	readonly #at: number;
	readonly #dataBytes: number;

	constructor(message: MessageWriter, at: number, dataBytes: number) {
		this.#message = message;
		this.#at = at;
		this.#dataBytes = dataBytes;
	}

	bool(bit: number, value: boolean): void {
		if (!value) return;
		const at = this.#at + (bit >>> 3);
		this.#message.view.setUint8(at, this.#message.view.getUint8(at) | (1 << (bit & 7)));
	}

	uint8(offset: number, value: number): void {
		this.#message.view.setUint8(this.#at + offset, value);
	}

	uint16(offset: number, value: number): void {
		this.#message.view.setUint16(this.#at + offset, value, true);
	}

	uint32(offset: number, value: number): void {
		this.#message.view.setUint32(this.#at + offset, value, true);
	}

	int32(offset: number, value: number): void {
		this.#message.view.setInt32(this.#at + offset, value, true);
	}

	uint64(offset: number, value: bigint): void {
		this.#message.view.setBigUint64(this.#at + offset, value, true);
	}

	float64(offset: number, value: number): void {
		this.#message.view.setFloat64(this.#at + offset, value, true);
	}

	text(index: number, value: string): void {
		if (value !== "") this.#message.text(this.#pointer(index), value);
	}

	data(index: number, value: Uint8Array): void {
		if (value.length > 0) this.#message.bytes(this.#pointer(index), value);
	}

	struct(index: number, size: StructSize): StructWriter {
		return this.#message.struct(this.#pointer(index), size);
	}

	structs<T>(
		index: number,
		size: StructSize,
		values: readonly T[],
		write: (writer: StructWriter, value: T) => void,
	): void {
		let at = this.#message.structs(this.#pointer(index), size, values.length);
		for (const value of values) {
			write(new StructWriter(this.#message, at, size.data), value);
			at += size.data + size.pointers * 8;
		}
	}

	texts(index: number, values: readonly string[]): void {
		let at = this.#message.pointers(this.#pointer(index), values.length);
		for (const value of values) {
			this.#message.text(at, value);
			at += 8;
		}
	}

	/** Makes the pointer lead to this entry of the payload's capability table. */
	capability(index: number, entry: number): void {
		this.#message.view.setUint32(this.#pointer(index), 3, true);
		this.#message.view.setUint32(this.#pointer(index) + 4, entry, true);
	}

	#pointer(index: number): number {
		return this.#at + this.#dataBytes + index * 8;
	}
}

function roundUp(bytes: number): number {
	return (bytes + 7) & ~7;
}
