/**
 * Reads Cap'n Proto messages. Fields that a message lacks read as zero or empty, as the encoding says, so the two sides
 * may know different versions of a struct. A malformed message throws a RangeError, whatever it holds.
 */

const decoder = new TextDecoder();
const NO_SEGMENT = new DataView(new ArrayBuffer(0));
/** How deep pointers may be nested. */
const MAX_DEPTH = 32;
/** How often a message's bytes may be read: pointers to one object may be many. */
const MAX_READS = 8;
const FREE_BYTES = 1 << 20;

/** Where a pointer leads: the object's segment, its first byte, and the pointer's two halves. */
interface Target {
	segment: DataView;
	at: number;
	low: number;
	high: number;
}

/** The segments of one message, without their framing. */
export class MessageReader {
	readonly #segments: readonly DataView[];
	/** Bytes that may yet be read. */
	#left: number;

	constructor(segments: readonly DataView[]) {
		this.#segments = segments;
		this.#left = FREE_BYTES + MAX_READS * segments.reduce((sum, segment) => sum + segment.byteLength, 0);
	}

	root(): StructReader {
		return this.structAt(this.#segment(0), 0, MAX_DEPTH);
	}

	structAt(segment: DataView, at: number, depth: number): StructReader {
		const target = this.#follow(segment, at);
		if (target === undefined) return EMPTY_STRUCT;
		if ((target.low & 3) !== 0 || depth === 0) throw new RangeError("a struct pointer was expected");
		const dataBytes = (target.high & 0xffff) * 8;
		this.#spend(dataBytes + (target.high >>> 16) * 8);
		return new StructReader(
			this,
			target.segment,
			target.at,
			dataBytes,
			target.at + dataBytes,
			target.high >>> 16,
			depth,
		);
	}

	listAt(segment: DataView, at: number, depth: number): ListReader {
		const target = this.#follow(segment, at);
		if (target === undefined) return EMPTY_LIST;
		if ((target.low & 3) !== 1 || depth === 0) throw new RangeError("a list pointer was expected");
		const list = new ListReader(this, target.segment, target.at, target.high & 7, target.high >>> 3, depth);
		this.#spend(list.byteLength);
		return list;
	}

	/** The bytes of a list of bytes, without a copy; undefined for a null pointer. */
	bytesAt(segment: DataView, at: number): Uint8Array | undefined {
		const target = this.#follow(segment, at);
		if (target === undefined) return undefined;
		if ((target.low & 3) !== 1 || (target.high & 7) !== 2) throw new RangeError("bytes were expected");
		const length = target.high >>> 3;
		if (target.at < 0 || target.at + length > target.segment.byteLength)
			throw new RangeError("bytes beyond their segment");
		this.#spend(length);
		return new Uint8Array(target.segment.buffer, target.segment.byteOffset + target.at, length);
	}

	/** The index in the payload's capability table; undefined for a null pointer. */
	capabilityAt(segment: DataView, at: number): number | undefined {
		const low = segment.getUint32(at, true);
		const high = segment.getUint32(at + 4, true);
		if (low === 0 && high === 0) return undefined;
		if (low !== 3) throw new RangeError("a capability was expected");
		return high;
	}

	#spend(bytes: number): void {
		// A pointer costs, too, where nothing is behind it.
		this.#left -= bytes + 8;
		if (this.#left < 0) throw new RangeError("a message whose parts are used too often");
	}

	#segment(index: number): DataView {
		const segment = this.#segments[index];
		if (segment === undefined) throw new RangeError("a pointer into a segment that is not there");
		return segment;
	}

	#follow(segment: DataView, at: number): Target | undefined {
		const low = segment.getUint32(at, true);
		const high = segment.getUint32(at + 4, true);
		if (low === 0 && high === 0) return undefined;
		if ((low & 3) !== 2) return { segment, at: at + 8 + (low >> 2) * 8, low, high };
		const padSegment = this.#segment(high);
		const pad = (low >>> 3) * 8;
		const padLow = padSegment.getUint32(pad, true);
		const padHigh = padSegment.getUint32(pad + 4, true);
		if ((low & 4) === 0) {
			if ((padLow & 3) === 2) throw new RangeError("a far pointer to a far pointer");
			return { segment: padSegment, at: pad + 8 + (padLow >> 2) * 8, low: padLow, high: padHigh };
		}
		return {
			segment: this.#segment(padHigh),
			at: (padLow >>> 3) * 8,
			low: padSegment.getUint32(pad + 8, true),
			high: padSegment.getUint32(pad + 12, true),
		};
	}
}

/** One struct. Offsets are bytes of the data section, indexes are those of the pointer section. */
export class StructReader {
	readonly #message: MessageReader;
	readonly #segment: DataView;
	readonly #data: number;
	readonly #dataBytes: number;
	readonly #pointers: number;
	readonly #pointerCount: number;
	readonly #depth: number;

	constructor(
		message: MessageReader,
		segment: DataView,
		data: number,
		dataBytes: number,
		pointers: number,
		pointerCount: number,
		depth: number,
	) {
		this.#message = message;
		this.#segment = segment;
		this.#data = data;
		this.#dataBytes = dataBytes;
		this.#pointers = pointers;
		this.#pointerCount = pointerCount;
		this.#depth = depth;
	}

	bool(bit: number): boolean {
		return (this.uint8(bit >>> 3) & (1 << (bit & 7))) !== 0;
	}

	uint8(offset: number): number {
		return offset < this.#dataBytes ? this.#segment.getUint8(this.#data + offset) : 0;
	}

	uint16(offset: number): number {
		return offset < this.#dataBytes ? this.#segment.getUint16(this.#data + offset, true) : 0;
	}

	uint32(offset: number): number {
		return offset < this.#dataBytes ? this.#segment.getUint32(this.#data + offset, true) : 0;
	}

	int32(offset: number): number {
		return this.uint32(offset) | 0;
	}

	uint64(offset: number): bigint {
		return offset < this.#dataBytes ? this.#segment.getBigUint64(this.#data + offset, true) : 0n;
	}

	float64(offset: number): number {
		return offset < this.#dataBytes ? this.#segment.getFloat64(this.#data + offset, true) : 0;
	}

	text(index: number): string {
		const bytes = this.#bytes(index);
		return bytes === undefined || bytes.length < 2 ? "" : decoder.decode(bytes.subarray(0, -1));
	}

	/** A copy: the message's memory may be used again. */
	data(index: number): Uint8Array {
		return this.#bytes(index)?.slice() ?? new Uint8Array(0);
	}

	struct(index: number): StructReader {
		if (index >= this.#pointerCount) return EMPTY_STRUCT;
		return this.#message.structAt(this.#segment, this.#pointers + index * 8, this.#depth - 1);
	}

	list(index: number): ListReader {
		if (index >= this.#pointerCount) return EMPTY_LIST;
		return this.#message.listAt(this.#segment, this.#pointers + index * 8, this.#depth - 1);
	}

	/** Whether the pointer is a capability (and not a struct, a list or null). */
	isCapability(index: number): boolean {
		return index < this.#pointerCount && this.#segment.getUint32(this.#pointers + index * 8, true) === 3;
	}

	capability(index: number): number | undefined {
		if (index >= this.#pointerCount) return undefined;
		return this.#message.capabilityAt(this.#segment, this.#pointers + index * 8);
	}

	#bytes(index: number): Uint8Array | undefined {
		if (index >= this.#pointerCount) return undefined;
		return this.#message.bytesAt(this.#segment, this.#pointers + index * 8);
	}
}

/** A list of structs or of texts. */
export class ListReader {
	readonly length: number;
	readonly #message: MessageReader;
	readonly #segment: DataView;
	readonly #at: number;
	readonly #depth: number;
	/** Of one element; 0 for a list of pointers. */
	readonly #dataBytes: number;
	readonly #pointerCount: number;

	constructor(
		message: MessageReader,
		segment: DataView,
		at: number,
		size: number,
		count: number,
		depth: number,
	) {
		this.#message = message;
		this.#segment = segment;
		this.#depth = depth;
		if (size === 7) {
			const tag = segment.getUint32(at + 4, true);
			this.#at = at + 8;
			this.length = segment.getUint32(at, true) >>> 2;
			this.#dataBytes = (tag & 0xffff) * 8;
			this.#pointerCount = tag >>> 16;
			if (this.length * this.#stride() > count * 8) throw new RangeError("a list longer than its words");
		} else if (size === 6 || count === 0) {
			this.#at = at;
			this.length = count;
			this.#dataBytes = 0;
			this.#pointerCount = 1;
		} else {
			throw new RangeError("a list of structs or texts was expected");
		}
		if (this.#at + this.length * this.#stride() > segment.byteLength) {
			throw new RangeError("a list beyond its segment");
		}
		if (this.length > 0 && this.#stride() === 0 && this.length > 4096) {
			throw new RangeError("a list of too many empty structs");
		}
	}

	get byteLength(): number {
		return this.length * this.#stride();
	}

	map<T>(read: (element: StructReader) => T): T[] {
		return Array.from({ length: this.length }, (_, index) => read(this.struct(index)));
	}

	texts(): string[] {
		return this.map((element) => element.text(0));
	}

	struct(index: number): StructReader {
		const at = this.#at + index * this.#stride();
		return new StructReader(
			this.#message,
			this.#segment,
			at,
			this.#dataBytes,
			at + this.#dataBytes,
			this.#pointerCount,
			this.#depth,
		);
	}

	#stride(): number {
		return this.#dataBytes + this.#pointerCount * 8;
	}
}

const NOTHING = new MessageReader([]);
export const EMPTY_STRUCT = new StructReader(NOTHING, NO_SEGMENT, 0, 0, 0, 0, MAX_DEPTH);
const EMPTY_LIST = new ListReader(NOTHING, NO_SEGMENT, 0, 6, 0, MAX_DEPTH);
