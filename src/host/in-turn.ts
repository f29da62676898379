/** Has what is done to one thing done one after the other, in the order in which it was asked for. */
export class InTurn {
	readonly #last = new Map<string, Promise<unknown>>();

	/** Does the work when all that was asked for before of the same `name` is done, well or not. */
	async run<T>(name: string, work: () => Promise<T>): Promise<T> {
		const before = this.#last.get(name);
		const done = (async () => {
			await before?.catch(() => undefined);
			return work();
		})();
		this.#last.set(name, done);
		try {
			return await done;
		} finally {
			if (this.#last.get(name) === done) this.#last.delete(name);
		}
	}
}
