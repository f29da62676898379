interface Limits {
	/** Of one tenant, bytes. */
	perSecond: number;
	/** At once, after a quiet time. */
	burst: number;
}

/** Lets each tenant's bytes through at a bounded rate: for what the host's one thread, which is everybody's, works on as a whole. */
export class Pace {
	readonly #limits: Limits;
	/** When a tenant's next ones are due, in milliseconds of the worker's clock, if they were as many as a burst. */
	readonly #due = new Map<string, number>();

	constructor(limits: Limits) {
		this.#limits = limits;
	}

	/** Waits for these bytes' turn. */
	async turn(tenant: string, bytes: number): Promise<void> {
		const { perSecond, burst } = this.#limits;
		const now = Date.now();
		const due = Math.max(this.#due.get(tenant) ?? 0, now) + (bytes * 1000) / perSecond;
		this.#due.set(tenant, due);
		for (const [other, at] of this.#due) if (at < now) this.#due.delete(other);
		const wait = due - now - (burst * 1000) / perSecond;
		if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
	}
}
