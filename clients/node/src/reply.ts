import { type NativeClient, type NativeHandle, native } from "./native.ts";
import type { Answered, Pool } from "./pool.ts";

/**
 * Bytes that are there or still coming, in memory that is shared with the bridge: nothing was copied, and writing to them
 * ends the process; copy with `slice()` what is to be changed.
 */
export class Reply {
	/** The protocol's (HTTP), 0 where it has none. A status ≥ 400 is an answer like any other. */
	readonly status: number;
	/**
	 * Where the bytes lie when the initscript has had them received in a file of the application's. Whoever cuts that file
	 * loses them.
	 */
	readonly file: { path: string; offset: number } | undefined;
	readonly #pool: Pool;
	readonly #client: NativeClient;
	readonly #handle: NativeHandle;
	readonly #buffer: ArrayBuffer;
	readonly #timeout: number;
	#length: number;
	#total: number;

	constructor(pool: Pool, { given, client }: Answered, timeout = 0) {
		this.status = given.status;
		this.file = given.file === "" ? undefined : { path: given.file, offset: given.offset };
		this.#pool = pool;
		this.#client = client;
		this.#handle = given.handle;
		this.#buffer = given.buffer;
		this.#length = given.length;
		this.#total = given.total;
		this.#timeout = timeout;
	}

	/** How many bytes there will be, while that is known. */
	get total(): number | undefined {
		return this.#total < 0 ? undefined : this.#total;
	}

	/** The bytes that are there now. */
	get there(): Uint8Array {
		return new Uint8Array(this.#buffer, 0, this.#length);
	}

	/** Waits until `length` bytes are there, or all; gives those that are. Throws what ended them early. */
	async wait(length: number): Promise<Uint8Array> {
		const wanted = this.#total < 0 ? length : Math.min(length, this.#total);
		if (wanted > this.#length) {
			const fields = { length: BigInt(wanted), timeout: this.#timeout, reply: this.#handle };
			const { given } = await this.#pool.call(native.AWAIT, fields);
			this.#length = given.length;
			this.#total = given.total;
		}
		return this.there;
	}

	/** All bytes, waiting while they are still coming. */
	async bytes(): Promise<Uint8Array> {
		while (this.#total < 0 || this.#length < this.#total) await this.wait(this.#length + 1);
		return this.there;
	}

	/** All bytes as text. */
	async text(): Promise<string> {
		return new TextDecoder().decode(await this.bytes());
	}

	/** The bytes in pieces, while they come. */
	async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, void> {
		for (let position = 0; ; ) {
			const there = await this.wait(position + 1);
			if (there.length <= position) return;
			yield there.subarray(position);
			position = there.length;
		}
	}

	/** Gives the memory back now instead of when all that refers to it is collected. Its bytes are gone. */
	free(): void {
		native.free(this.#client, this.#handle, this.#buffer);
		this.#length = 0;
		this.#total = 0;
	}
}
