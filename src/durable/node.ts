/**
 * What the host's requests and its Transcript objects share: they run in one isolate. Only names and plain data live here;
 * nothing that belongs to a request or an object.
 */
import type { InstanceMode } from "../bridge/bridge.ts";
import type { DeployedFunction } from "../shared/function.ts";

let boot: string | undefined;

/** Names this life of the host. Made when it is first asked for: workerd has no random numbers before that. */
export function bootId(): string {
	boot ??= crypto.randomUUID();
	return boot;
}

/** How many instances are kept ready for functions to come. */
export const SPARES = 3;

/** Deployed functions, so that a start reads no storage. */
export class Functions {
	readonly #byName = new Map<string, DeployedFunction>();
	readonly #byDigest = new Map<string, DeployedFunction>();

	named(name: string): DeployedFunction | undefined {
		return this.#byName.get(name);
	}

	/** Of the version with this digest; instances outlive a deploy. */
	version(digest: string): DeployedFunction | undefined {
		return this.#byDigest.get(digest);
	}

	put(it: DeployedFunction): void {
		this.drop(it.manifest.name);
		this.#byName.set(it.manifest.name, it);
		this.#byDigest.set(it.digest, it);
	}

	drop(name: string): void {
		const it = this.#byName.get(name);
		this.#byName.delete(name);
		if (it !== undefined) this.#byDigest.delete(it.digest);
	}
}

/** Where the Transcript objects are, by their names. */
export class Pool {
	/** Objects with an instance that has no function yet. */
	readonly #spare: string[] = [];
	/** Objects whose instance has ended: they have their stream and wait for work. */
	readonly #idle: string[] = [];
	/** Objects whose instance waits for its function's next invocation, by the function's digest. */
	readonly #warm = new Map<string, string[]>();
	/** The object of each instance that has begun and whose record is not in the log yet. */
	readonly #live = new Map<string, string>();
	#making = 0;

	/** The last one kept is the one most likely to be in caches. */
	takeWarm(digest: string): string | undefined {
		return this.#warm.get(digest)?.pop();
	}

	takeSpare(): string | undefined {
		return this.#spare.shift();
	}

	takeIdle(): string | undefined {
		return this.#idle.pop();
	}

	addSpare(name: string): void {
		this.#spare.push(name);
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
		const at = this.#spare.indexOf(name);
		if (at >= 0) this.#spare.splice(at, 1);
	}

	warmOf(digest: string): string[] {
		return [...(this.#warm.get(digest) ?? [])];
	}

	live(instance: string): string | undefined {
		return this.#live.get(instance);
	}

	get liveObjects(): IterableIterator<string> {
		return this.#live.values();
	}

	setLive(instance: string, name: string): void {
		this.#live.set(instance, name);
	}

	endLive(instance: string): void {
		this.#live.delete(instance);
	}

	/** How many spares are missing, counting those being made. */
	get missing(): number {
		return SPARES - this.#spare.length - this.#making;
	}

	/** Counts a spare as being made until `made` settles. */
	async making(made: Promise<void>): Promise<void> {
		this.#making += 1;
		try {
			await made;
		} finally {
			this.#making -= 1;
		}
	}
}

/** An invocation on its way from its request to its object. */
export interface Invocation {
	deployed: DeployedFunction;
	mode: InstanceMode;
	/** Whether its instance ends with its answer. */
	cold: boolean;
	/** CLOCK_MONOTONIC ns when the request left its caller, or 0. */
	sentAt: bigint;
	/** Of the event. */
	contentType: string | undefined;
	/** The event, when it is small; else it is the body of the request to the object. */
	event: Uint8Array<ArrayBuffer> | undefined;
}

/** Invocations on their way: so the request to an object needs no headers and mostly no body, which takes time. */
export class HandOver {
	readonly #waiting = new Map<string, Invocation>();
	#last = 0;

	/** Its name, to be given to the object. */
	put(it: Invocation): string {
		const ticket = String(++this.#last);
		this.#waiting.set(ticket, it);
		return ticket;
	}

	take(ticket: string): Invocation | undefined {
		const it = this.#waiting.get(ticket);
		this.#waiting.delete(ticket);
		return it;
	}
}

export const handOver = new HandOver();
export const functions = new Functions();
export const pool = new Pool();
