/** A rate that is kept over time. */
export interface Rate {
	perSecond: number;
	/** At once, after a quiet time. */
	burst: number;
}

/** Lets an amount through at a bounded rate: a burst at once, then each when it is due. */
export class Pace {
	readonly #interval: number;
	readonly #allowance: number;
	/** When the next is due, in milliseconds of the worker's clock, if it were as much as a burst. */
	#due = 0;

	constructor({ perSecond, burst }: Rate) {
		this.#interval = 1_000 / perSecond;
		this.#allowance = burst * this.#interval;
	}

	/** Counts this amount. Answers how long it is to its turn, in milliseconds; 0 when it is now. */
	count(amount: number): number {
		this.#due = Math.max(this.#due, Date.now()) + amount * this.#interval;
		return this.wait();
	}

	/** How long it is, in milliseconds, until what was counted had its turn. */
	wait(): number {
		return Math.max(0, this.#due - this.#allowance - Date.now());
	}

	/** Whether all that was counted is as good as forgotten. */
	isQuiet(): boolean {
		return this.#due <= Date.now();
	}
}
