/**
 * At most `count` tasks at a time; the others wait in order. A task for which there is room starts at once.
 *
 * A task whose request was cut never settles: workerd runs nothing of it any more. So a slot is held no longer than its
 * holder can live.
 */
export class Slots {
	readonly #count: number;
	readonly #held = new Set<Lease>();
	readonly #waiting: { expiresAt: number; start: (lease: Lease) => void }[] = [];

	constructor(count: number) {
		this.#count = count;
	}

	/** @param expiresAt when the task has certainly ended, in milliseconds of the worker's clock. */
	use<T>(task: () => Promise<T>, expiresAt = Number.POSITIVE_INFINITY): Promise<T> {
		this.#grant();
		if (this.#hasRoom()) return this.#run(task, this.#hold(expiresAt));
		const turn = new Promise<Lease>((start) => this.#waiting.push({ expiresAt, start }));
		return turn.then((lease) => this.#run(task, lease));
	}

	async #run<T>(task: () => Promise<T>, lease: Lease): Promise<T> {
		try {
			return await task();
		} finally {
			this.#held.delete(lease);
			this.#grant();
		}
	}

	/** Gives free slots to those that wait. */
	#grant(): void {
		while (this.#waiting.length > 0 && this.#hasRoom()) {
			const next = this.#waiting.shift();
			if (next !== undefined && next.expiresAt > Date.now()) next.start(this.#hold(next.expiresAt));
		}
	}

	#hasRoom(): boolean {
		if (this.#held.size < this.#count) return true;
		const now = Date.now();
		for (const lease of this.#held) if (lease.expiresAt <= now) this.#held.delete(lease);
		return this.#held.size < this.#count;
	}

	#hold(expiresAt: number): Lease {
		const lease = { expiresAt };
		this.#held.add(lease);
		return lease;
	}
}

interface Lease {
	expiresAt: number;
}
