import type { DeployedFunction } from "../shared/function.ts";

/** Deployed functions, so that a start reads no storage. */
export class Functions {
	/** By tenant, then by name. */
	readonly #byName = new Map<string, Map<string, DeployedFunction>>();
	readonly #byDigest = new Map<string, DeployedFunction>();
	#changes = 0;

	named(tenant: string, name: string): DeployedFunction | undefined {
		return this.#byName.get(tenant)?.get(name);
	}

	/** Of the version with this digest; instances outlive a deploy. */
	version(digest: string): DeployedFunction | undefined {
		return this.#byDigest.get(digest);
	}

	/** What {@link putRead} wants to know: taken before the reading. */
	get changes(): number {
		return this.#changes;
	}

	/** Puts what was read from the registry, unless something was deployed or removed meanwhile: then it may be out of date. */
	putRead(it: DeployedFunction, changes: number): void {
		if (changes !== this.#changes || this.named(it.tenant, it.manifest.name) !== undefined) return;
		this.put(it);
		this.#changes = changes;
	}

	put(it: DeployedFunction): void {
		this.drop(it.tenant, it.manifest.name);
		const names = this.#byName.get(it.tenant) ?? new Map<string, DeployedFunction>();
		this.#byName.set(it.tenant, names);
		names.set(it.manifest.name, it);
		this.#byDigest.set(it.digest, it);
	}

	drop(tenant: string, name: string): void {
		this.#changes += 1;
		const names = this.#byName.get(tenant);
		const it = names?.get(name);
		if (names === undefined || it === undefined) return;
		names.delete(name);
		if (names.size === 0) this.#byName.delete(tenant);
		this.#byDigest.delete(it.digest);
	}

	/** Forgets all of a tenant's. */
	dropAll(tenant: string): void {
		this.#changes += 1;
		for (const { digest } of this.of(tenant)) this.#byDigest.delete(digest);
		this.#byName.delete(tenant);
	}

	/** Those of a tenant that are known here. */
	of(tenant: string): DeployedFunction[] {
		return [...(this.#byName.get(tenant)?.values() ?? [])];
	}
}
