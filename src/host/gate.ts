import { HeadstartError } from "../shared/error.ts";

export interface GateLimits {
	/** How many of all tenants are inside at one time, and how many of one. */
	most: number;
	mostOfTenant: number;
	/** How many of one tenant wait, and for how long, milliseconds. */
	waiting: number;
	waitMs: number;
}

interface Waiter {
	tenant: string;
	enter: () => void;
}

/** Lets so many requests do at one time what takes much memory or disk. The others wait before their bodies are read. */
export class Gate {
	readonly #what: string;
	readonly #limits: GateLimits;
	readonly #inside = new Map<string, number>();
	#waiting: Waiter[] = [];

	/** `what`: of what there are too many, as "deployments". */
	constructor(what: string, limits: GateLimits) {
		this.#what = what;
		this.#limits = limits;
	}

	/** Does the work inside. Throws `tooMany` when there is no place for the tenant, not even to wait, or none in time. */
	async through<T>(tenant: string, work: () => Promise<T>): Promise<T> {
		await this.#enter(tenant);
		try {
			return await work();
		} finally {
			this.#leave(tenant);
		}
	}

	#enter(tenant: string): Promise<void> {
		if (this.#hasRoom(tenant)) {
			this.#count(tenant, 1);
			return Promise.resolve();
		}
		if (this.#waiting.filter((it) => it.tenant === tenant).length >= this.#limits.waiting)
			return Promise.reject(this.#tooMany());
		return new Promise((resolve, reject) => {
			const late = setTimeout(() => {
				this.#waiting = this.#waiting.filter((it) => it !== waiter);
				reject(this.#tooMany());
			}, this.#limits.waitMs);
			const waiter = {
				tenant,
				enter: () => {
					clearTimeout(late);
					resolve();
				},
			};
			this.#waiting.push(waiter);
		});
	}

	/** The first who may goes in. */
	#leave(tenant: string): void {
		this.#count(tenant, -1);
		const next = this.#waiting.find((it) => this.#hasRoom(it.tenant));
		if (next === undefined) return;
		this.#waiting = this.#waiting.filter((it) => it !== next);
		this.#count(next.tenant, 1);
		next.enter();
	}

	#hasRoom(tenant: string): boolean {
		let inside = 0;
		for (const count of this.#inside.values()) inside += count;
		return inside < this.#limits.most && (this.#inside.get(tenant) ?? 0) < this.#limits.mostOfTenant;
	}

	#count(tenant: string, by: number): void {
		const count = (this.#inside.get(tenant) ?? 0) + by;
		if (count === 0) this.#inside.delete(tenant);
		else this.#inside.set(tenant, count);
	}

	#tooMany(): HeadstartError {
		const { most, mostOfTenant } = this.#limits;
		const message = `more ${this.#what} are under way than the node takes at one time: ${mostOfTenant} of a tenant, ${most} in all`;
		const hint = "Try again when those are done (Retry-After says when), and send fewer side by side.";
		return new HeadstartError("tooMany", message, { hint });
	}
}
