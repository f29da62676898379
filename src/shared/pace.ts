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
		this.count(tenant, bytes);
		const wait = this.#wait(tenant);
		if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
	}

	/** Whether this tenant has had more than its share, for what is rather left out than waited for. */
	isBehind(tenant: string): boolean {
		return this.#wait(tenant) > 0;
	}

	/** Counts bytes that did not wait. */
	count(tenant: string, bytes: number): void {
		const now = Date.now();
		for (const [other, at] of this.#due) if (at < now) this.#due.delete(other);
		this.#due.set(tenant, (this.#due.get(tenant) ?? now) + (bytes * 1000) / this.#limits.perSecond);
	}

	#wait(tenant: string): number {
		const { perSecond, burst } = this.#limits;
		return (this.#due.get(tenant) ?? 0) - Date.now() - (burst * 1000) / perSecond;
	}
}
