/** Cuts a stream of bytes into Cap'n Proto messages. */
import { MessageReader } from "./reader.ts";

export const MAX_SEGMENTS = 512;
export const MAX_MESSAGE_BYTES = 64 << 20;

const ROOM = 64 << 10;
/** A larger buffer is given back when all of it has been read. */
const MAX_IDLE_ROOM = 1 << 20;

/** Collects chunks and gives each complete message once. */
export class Framer {
	#buffer = new Uint8Array(ROOM);
	#start = 0;
	#end = 0;

	/** Takes a chunk in; it is copied. */
	push(chunk: Uint8Array): void {
		if (this.#start === this.#end) {
			this.#start = 0;
			this.#end = 0;
			if (this.#buffer.length > MAX_IDLE_ROOM) this.#buffer = new Uint8Array(ROOM);
		}
		if (this.#end + chunk.length > this.#buffer.length) this.#makeRoom(chunk.length);
		this.#buffer.set(chunk, this.#end);
		this.#end += chunk.length;
	}

	/**
	 * The next complete message, or undefined. It lies in the framer's memory: read it before the next `push`.
	 * Throws a RangeError for a message beyond the limits.
	 */
	next(): MessageReader | undefined {
		const available = this.#end - this.#start;
		if (available < 8) return undefined;
		const view = new DataView(this.#buffer.buffer, this.#start, available);
		const count = view.getUint32(0, true) + 1;
		if (count > MAX_SEGMENTS) throw new RangeError(`a message of ${count} segments`);
		const header = (4 + count * 4 + 7) & ~7;
		if (available < header) return undefined;
		let total = header;
		for (let index = 0; index < count; index++) total += view.getUint32(4 + index * 4, true) * 8;
		if (total > MAX_MESSAGE_BYTES) throw new RangeError(`a message of ${total} bytes`);
		if (available < total) return undefined;
		let at = this.#start + header;
		const segments: DataView[] = [];
		for (let index = 0; index < count; index++) {
			const length = view.getUint32(4 + index * 4, true) * 8;
			segments.push(new DataView(this.#buffer.buffer, at, length));
			at += length;
		}
		this.#start = at;
		return new MessageReader(segments);
	}

	#makeRoom(bytes: number): void {
		const used = this.#end - this.#start;
		const target =
			used + bytes > this.#buffer.length
				? new Uint8Array(Math.max(used + bytes, this.#buffer.length * 2))
				: this.#buffer;
		target.set(this.#buffer.subarray(this.#start, this.#end));
		this.#buffer = target;
		this.#start = 0;
		this.#end = used;
	}
}
