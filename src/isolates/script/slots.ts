/** At most `count` tasks at a time; the others wait in order. A task for which there is room starts at once. */
export class Slots {
	#free: number;
	readonly #waiting: (() => void)[] = [];

	constructor(count: number) {
		this.#free = count;
	}

	use<T>(task: () => Promise<T>): Promise<T> {
		if (this.#free > 0) {
			this.#free -= 1;
			return this.#run(task);
		}
		return new Promise<void>((resolve) => this.#waiting.push(resolve)).then(() => this.#run(task));
	}

	async #run<T>(task: () => Promise<T>): Promise<T> {
		try {
			return await task();
		} finally {
			const next = this.#waiting.shift();
			if (next === undefined) this.#free += 1;
			else next();
		}
	}
}
