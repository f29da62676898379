import { Pace, type Rate } from "./pace.ts";

/** Lets each tenant's bytes through at a bounded rate: for what the host's one thread, which is everybody's, works on as a whole. */
export class TenantPace {
	readonly #rate: Rate;
	readonly #paces = new Map<string, Pace>();

	/** @param rate of one tenant, in bytes */
	constructor(rate: Rate) {
		this.#rate = rate;
	}

	/** Waits for these bytes' turn. */
	async turn(tenant: string, bytes: number): Promise<void> {
		const wait = this.#of(tenant).count(bytes);
		if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
	}

	/** Counts bytes that did not wait. */
	count(tenant: string, bytes: number): void {
		this.#of(tenant).count(bytes);
	}

	/** Whether this tenant has had more than its share, for what is rather left out than waited for. */
	isBehind(tenant: string): boolean {
		return (this.#paces.get(tenant)?.wait() ?? 0) > 0;
	}

	#of(tenant: string): Pace {
		for (const [other, pace] of this.#paces) if (pace.isQuiet()) this.#paces.delete(other);
		const pace = this.#paces.get(tenant) ?? new Pace(this.#rate);
		this.#paces.set(tenant, pace);
		return pace;
	}
}
