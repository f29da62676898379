/** Whose runner is behind which of the host's bindings, of which there is a fixed number. The host says; the bridge does it. */
import { HeadstartError } from "../shared/error.ts";

/** A tenant's place. */
export class Slot {
	readonly number: number;
	readonly tenant: string;
	/** Whether the bridge has put the tenant's runner there. */
	assigned = false;
	#users = 0;
	#usedAt: number;
	readonly #now: () => number;

	/** @param now counts uses. */
	constructor(number: number, tenant: string, now: () => number) {
		this.number = number;
		this.tenant = tenant;
		this.#now = now;
		this.#usedAt = now();
	}

	get busy(): boolean {
		return this.#users > 0;
	}

	/** When it was last used, among the uses of all. */
	get usedAt(): number {
		return this.#usedAt;
	}

	/** Calls the runner; meanwhile the slot is nobody else's. */
	async during<T>(call: () => Promise<T>): Promise<T> {
		this.#users += 1;
		try {
			return await call();
		} finally {
			this.#users -= 1;
			this.#usedAt = this.#now();
		}
	}
}

export class Slots {
	readonly #count: number;
	readonly #byTenant = new Map<string, Slot>();
	#uses = 0;

	constructor(count: number) {
		this.#count = count;
	}

	/**
	 * The tenant's slot. One without gets a free one, or that of the tenant whose runner is idle for the longest, of whom
	 * `evicted` hears. Throws `tooMany` when all of them are at work.
	 */
	of(tenant: string, evicted: (tenant: string) => void): Slot {
		const own = this.#byTenant.get(tenant);
		if (own !== undefined) return own;
		return this.#put(this.#free() ?? this.#evict(evicted), tenant);
	}

	/** The tenant's slot, if it has one. */
	known(tenant: string): Slot | undefined {
		return this.#byTenant.get(tenant);
	}

	/** The bridge has the tenant's runner there, as this host was told when it began. */
	adopt(number: number, tenant: string): void {
		if (number >= this.#count || this.#byTenant.has(tenant) || this.#taken().has(number)) return;
		this.#put(number, tenant).assigned = true;
	}

	/** Forgets a tenant. */
	drop(tenant: string): void {
		this.#byTenant.delete(tenant);
	}

	#put(number: number, tenant: string): Slot {
		const slot = new Slot(number, tenant, () => ++this.#uses);
		this.#byTenant.set(tenant, slot);
		return slot;
	}

	#free(): number | undefined {
		const taken = this.#taken();
		for (let number = 0; number < this.#count; number++) if (!taken.has(number)) return number;
		return undefined;
	}

	#evict(evicted: (tenant: string) => void): number {
		const idle = [...this.#byTenant.values()].filter(({ busy }) => !busy);
		const oldest = idle.reduce<Slot | undefined>(
			(one, other) => (one === undefined || other.usedAt < one.usedAt ? other : one),
			undefined,
		);
		if (oldest === undefined) {
			throw new HeadstartError(
				"tooMany",
				`the node's ${this.#count} runners are all at work for other tenants`,
			);
		}
		this.#byTenant.delete(oldest.tenant);
		evicted(oldest.tenant);
		return oldest.number;
	}

	#taken(): Set<number> {
		return new Set([...this.#byTenant.values()].map(({ number }) => number));
	}
}
