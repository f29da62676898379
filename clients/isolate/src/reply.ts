import { HeadstartError } from "./error.ts";

/** Bytes that are there or still coming. They are streamed into the isolate, once: what was read is not kept here. */
export class Reply {
	/** The protocol's (HTTP), 0 where it has none. A status ≥ 400 is an answer like any other. */
	readonly status: number;
	/** How many bytes there will be. */
	readonly total: number;
	readonly #body: ReadableStream<Uint8Array> | null;

	constructor(response: Response) {
		this.status = Number(response.headers.get("x-headstart-status"));
		this.total = Number(response.headers.get("content-length"));
		this.#body = response.body;
	}

	/** All bytes, waiting while they are still coming. Throws `connectionReset` when they end early. */
	async bytes(): Promise<Uint8Array<ArrayBuffer>> {
		const buffer = new Uint8Array(this.total);
		if (this.total === 0 || this.#body === null) return buffer;
		const reader = this.#body.getReader({ mode: "byob" });
		try {
			// One read for all: the default reader would give pieces of some KiB.
			const { value } = await reader.readAtLeast(this.total, buffer);
			if (value?.byteLength === this.total) return new Uint8Array(value.buffer);
		} catch (error) {
			throw broken(error instanceof Error ? error.message : String(error));
		}
		throw broken("it is shorter than was said");
	}

	/** All bytes as text. */
	async text(): Promise<string> {
		return new TextDecoder().decode(await this.bytes());
	}

	/** The bytes while they come. */
	stream(): ReadableStream<Uint8Array> {
		return this.#body ?? new Blob([]).stream();
	}
}

function broken(why: string): HeadstartError {
	return new HeadstartError("connectionReset", `a reply ended early: ${why}`);
}
