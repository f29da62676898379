/** Lets calls through at a bounded rate, in order: a burst at once, then one every interval. */
export class Pace {
	readonly #interval: number;
	readonly #allowance: number;
	/** When the next call is due, in milliseconds of the worker's clock. */
	#due = 0;

	constructor({ perSecond, burst }: { perSecond: number; burst: number }) {
		this.#interval = 1_000 / perSecond;
		this.#allowance = burst * this.#interval;
	}

	/** Runs `call` at once, or when it is its turn. */
	use<T>(call: () => Promise<T>): Promise<T> {
		const now = Date.now();
		this.#due = Math.max(this.#due, now) + this.#interval;
		const wait = this.#due - now - this.#allowance;
		return wait <= 0 ? call() : scheduler.wait(wait).then(call);
	}
}
