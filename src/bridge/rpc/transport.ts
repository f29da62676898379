/** The bytes under an RPC connection: what is written within one turn of the event loop leaves in one piece. */

export interface ByteStream {
	readonly readable: ReadableStream;
	readonly writable: WritableStream;
	/** Closes both directions, where the stream can. */
	close?(): Promise<void>;
}

const READ_BYTES = 64 << 10;

export class Outbox {
	readonly #writer: WritableStreamDefaultWriter;
	readonly #onError: (error: unknown) => void;
	#queue: Uint8Array[] = [];

	constructor(writable: WritableStream, onError: (error: unknown) => void) {
		this.#writer = writable.getWriter();
		this.#onError = onError;
	}

	send(message: Uint8Array): void {
		this.#queue.push(message);
		if (this.#queue.length === 1) queueMicrotask(() => this.#flush());
	}

	/** Resolves when what was sent has left. */
	async close(): Promise<void> {
		this.#flush();
		await this.#writer.close().catch(() => undefined);
	}

	#flush(): void {
		const queue = this.#queue;
		this.#queue = [];
		if (queue.length === 0) return;
		this.#writer.write(concat(queue)).catch(this.#onError);
	}
}

/** Reads until the stream ends; `onChunk` must be done with its bytes when it returns. */
export async function readChunks(
	readable: ReadableStream,
	onChunk: (chunk: Uint8Array) => void,
): Promise<void> {
	const reader = readable.getReader({ mode: "byob" });
	let buffer = new ArrayBuffer(READ_BYTES);
	for (;;) {
		const { value, done } = await reader.read(new Uint8Array(buffer));
		if (value !== undefined && value.length > 0) onChunk(value);
		if (done || value === undefined) return;
		buffer = value.buffer as ArrayBuffer;
	}
}

function concat(parts: Uint8Array[]): Uint8Array {
	const [first] = parts;
	if (first !== undefined && parts.length === 1) return first;
	const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
	let at = 0;
	for (const part of parts) {
		whole.set(part, at);
		at += part.length;
	}
	return whole;
}
