/** How many instances are kept ready for a tenant's functions to come, and for all tenants together. */
export const SPARES = 3;
export const MAX_SPARES = 24;

/** What a tenant has of spares. */
interface Ready {
	/** Objects with an instance that has no function yet. */
	names: string[];
	/** How many more are being made. */
	making: number;
}

/** Where the Transcript objects are, by their names. */
export class Pool {
	/** By tenant; the one whose spares were wanted last is the last. */
	readonly #spare = new Map<string, Ready>();
	/** Objects whose instance has ended: they have their stream and wait for work of any tenant. */
	readonly #idle: string[] = [];
	/** Objects whose instance waits for its function's next invocation, by the function's digest (which is one tenant's). */
	readonly #warm = new Map<string, string[]>();
	/** The tenant and the object of each instance that has begun and whose record is not in the log yet. */
	readonly #live = new Map<string, { tenant: string; name: string }>();

	/** The last one kept is the one most likely to be in caches. */
	takeWarm(digest: string): string | undefined {
		return this.#warm.get(digest)?.pop();
	}

	takeSpare(tenant: string): string | undefined {
		return this.#ready(tenant).names.shift();
	}

	takeIdle(): string | undefined {
		return this.#idle.pop();
	}

	addSpare(tenant: string, name: string): void {
		this.#ready(tenant).names.push(name);
	}

	addIdle(name: string): void {
		if (!this.#idle.includes(name)) this.#idle.push(name);
	}

	addWarm(digest: string, name: string): void {
		const names = this.#warm.get(digest) ?? [];
		this.#warm.set(digest, names);
		names.push(name);
	}

	/** Whether it was still there to be taken. */
	removeWarm(digest: string, name: string): boolean {
		const names = this.#warm.get(digest) ?? [];
		const at = names.indexOf(name);
		if (at < 0) return false;
		names.splice(at, 1);
		if (names.length === 0) this.#warm.delete(digest);
		return true;
	}

	removeSpare(name: string): void {
		for (const { names } of this.#spare.values()) {
			const at = names.indexOf(name);
			if (at >= 0) names.splice(at, 1);
		}
	}

	/** Takes all of a tenant's spares, to be ended. */
	takeSpares(tenant: string): string[] {
		return this.#spare.get(tenant)?.names.splice(0) ?? [];
	}

	/** Takes a spare of the tenant that has wanted one least lately, when there are more than all tenants may have. */
	takeSurplus(): string | undefined {
		let count = 0;
		let oldest: Ready | undefined;
		for (const ready of this.#spare.values()) {
			count += ready.names.length + ready.making;
			if (oldest === undefined && ready.names.length > 0) oldest = ready;
		}
		return count > MAX_SPARES ? oldest?.names.shift() : undefined;
	}

	warmOf(digest: string): string[] {
		return [...(this.#warm.get(digest) ?? [])];
	}

	/** The object of a tenant's live instance. */
	live(tenant: string, instance: string): string | undefined {
		const live = this.#live.get(instance);
		return live?.tenant === tenant ? live.name : undefined;
	}

	/** The objects of a tenant's live instances. */
	liveOf(tenant: string): string[] {
		return [...this.#live.values()].filter((it) => it.tenant === tenant).map(({ name }) => name);
	}

	setLive(tenant: string, instance: string, name: string): void {
		this.#live.set(instance, { tenant, name });
	}

	endLive(instance: string): void {
		this.#live.delete(instance);
	}

	/** A tenant is gone: what still runs of it is nobody's. */
	endLiveOf(tenant: string): void {
		for (const [instance, it] of this.#live) if (it.tenant === tenant) this.#live.delete(instance);
	}

	/** How many spares a tenant is short of, counting those being made. */
	missing(tenant: string): number {
		const { names, making } = this.#ready(tenant);
		return SPARES - names.length - making;
	}

	/** Counts a spare as being made until `made` settles. */
	async making(tenant: string, made: Promise<void>): Promise<void> {
		const ready = this.#ready(tenant);
		ready.making += 1;
		try {
			await made;
		} finally {
			ready.making -= 1;
			if (ready.names.length === 0 && ready.making === 0) this.#spare.delete(tenant);
		}
	}

	#ready(tenant: string): Ready {
		const ready = this.#spare.get(tenant) ?? { names: [], making: 0 };
		this.#spare.delete(tenant);
		this.#spare.set(tenant, ready);
		return ready;
	}
}
