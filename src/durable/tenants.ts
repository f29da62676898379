import { HeadstartError } from "../shared/error.ts";
import type { Tenant } from "../shared/tenant.ts";

/** A tenant with the SHA-256 of its token; that of a tenant that has none is empty. */
export interface KnownTenant extends Tenant {
	tokenHash: Uint8Array;
}

interface Entry extends KnownTenant {
	/** The token itself, once it was checked: the next request is then compared with it, without hashing. */
	token?: Uint8Array;
}

/** The tenants of the node, in memory, so that a request reads no storage. */
export class Tenants {
	readonly #byName = new Map<string, Entry>();

	/** Throws `unknownTenant`. */
	get(name: string): KnownTenant {
		const found = this.#byName.get(name);
		if (found === undefined) throw new HeadstartError("unknownTenant", `no tenant is named ${name}`);
		return found;
	}

	has(name: string): boolean {
		return this.#byName.has(name);
	}

	/** Whether the tenant that has the name now had it then. */
	existed(name: string, unixMs: number): boolean {
		return (this.#byName.get(name)?.createdAt ?? Number.POSITIVE_INFINITY) <= unixMs;
	}

	/** By name. */
	all(): KnownTenant[] {
		return [...this.#byName.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
	}

	/** Adds a tenant, or puts what is new of it in the place of the old: a token that was known is not any more. */
	put({ name, quota, createdAt, tokenHash }: KnownTenant): void {
		this.#byName.set(name, { name, quota, createdAt, tokenHash });
	}

	drop(name: string): void {
		this.#byName.delete(name);
	}

	/**
	 * Whether this is the tenant's token. At once where the right one was seen before; else it is hashed. Takes the same time
	 * wherever a wrong token differs from the right one.
	 */
	isToken(name: string, token: Uint8Array): boolean | Promise<boolean> {
		const known = this.#byName.get(name);
		if (known?.token === undefined) return this.#isToken(known, token);
		return isEqual(known.token, token);
	}

	/** Hashes also where there is no such tenant. */
	async #isToken(known: Entry | undefined, token: Uint8Array): Promise<boolean> {
		const right = isEqual(known?.tokenHash ?? new Uint8Array(), await sha256(token));
		if (right && known !== undefined) known.token = token;
		return right;
	}
}

export async function sha256(bytes: Uint8Array): Promise<Uint8Array> {
	return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>));
}

export function hex(bytes: Uint8Array): string {
	return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** In a time that tells nothing but the lengths. */
export function isEqual(a: Uint8Array, b: Uint8Array): boolean {
	return a.length === b.length && crypto.subtle.timingSafeEqual(a, b);
}
