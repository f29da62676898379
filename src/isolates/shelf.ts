/** Things kept by digest, within bounds: what was used longest ago goes first. */
export class Shelf<T> {
	readonly #bounds: { items: number; bytes: number };
	readonly #items = new Map<string, { value: T; bytes: number }>();
	#bytes = 0;

	constructor(bounds: { items: number; bytes: number }) {
		this.#bounds = bounds;
	}

	get(digest: string): T | undefined {
		const item = this.#items.get(digest);
		if (item === undefined) return undefined;
		// A map keeps the order of insertion: the last used is at its end.
		this.#items.delete(digest);
		this.#items.set(digest, item);
		return item.value;
	}

	put(digest: string, value: T, bytes: number): void {
		this.remove(digest);
		this.#items.set(digest, { value, bytes });
		this.#bytes += bytes;
		for (const oldest of this.#items.keys()) {
			if (this.#items.size <= this.#bounds.items && this.#bytes <= this.#bounds.bytes) return;
			this.remove(oldest);
		}
	}

	remove(digest: string): void {
		this.#bytes -= this.#items.get(digest)?.bytes ?? 0;
		this.#items.delete(digest);
	}
}
