/**
 * Spare isolates: one for each TypeScript script that was used of late, so that a run does not wait for its isolate. A run
 * takes the spare and uses it up; the next one is made soon after the run.
 *
 * A durable object, because stubs may be kept only within one; it stores nothing.
 */
import { DurableObject } from "cloudflare:workers";
import type { HostApi, ScriptExit } from "../protocol.ts";
import type { Incubator, SpareCell } from "./incubator.ts";

interface Env {
	INCUBATOR: Service<Incubator>;
}

export interface SpareRun {
	digest: string;
	source: string;
	input: Uint8Array;
	deadlineMs: number;
}

type Spare = Rpc.Stub<SpareCell>;

interface Refill {
	timer: ReturnType<typeof setTimeout>;
	/** Milliseconds of the worker's clock. */
	at: number;
}

/** Spares of all scripts together; each takes about 2 MB. */
const MAX_SPARES = 32;
/** The next spare is made this long after a run's end: what follows at once is its application's start. */
const REFILL_MS = 100;
/** And this long after its beginning at the latest. (The end of one that found no spare is not seen here.) */
const REFILL_LATEST_MS = 1_000;

export class Nursery extends DurableObject<Env> {
	/** By digest; the one used longest ago is first. `undefined` while it is being made. */
	readonly #spares = new Map<string, Spare | undefined>();
	/** Those to be made, by digest. */
	readonly #refills = new Map<string, Refill>();

	/** Makes a spare, unless there is one. */
	async prepare(digest: string, source: string): Promise<void> {
		if (this.#spares.has(digest)) return;
		this.#spares.set(digest, undefined);
		try {
			const spare = await this.env.INCUBATOR.hatch(source);
			// Dropped meanwhile, or another was put in its place.
			if (this.#spares.has(digest) && this.#spares.get(digest) === undefined) this.#spares.set(digest, spare);
			else spare[Symbol.dispose]();
		} catch {
			this.#spares.delete(digest);
		}
		for (const oldest of this.#spares.keys()) {
			if (this.#spares.size <= MAX_SPARES) return;
			this.drop(oldest);
		}
	}

	/** Runs the script in its spare; undefined when there is none. Either way one is made for the next run. */
	async run({ digest, source, input, deadlineMs }: SpareRun, host: HostApi): Promise<ScriptExit | undefined> {
		const spare = this.#spares.get(digest);
		// Starts that follow each other closely do not put it off.
		if (!this.#refills.has(digest)) this.#refill(digest, source, REFILL_LATEST_MS);
		if (spare === undefined) return undefined;
		this.#spares.delete(digest);
		try {
			return await spare.run(input, host, deadlineMs);
		} finally {
			spare[Symbol.dispose]();
			// A script that was dropped meanwhile needs none.
			const refill = this.#refills.get(digest);
			if (refill !== undefined && refill.at > Date.now() + REFILL_MS) this.#refill(digest, source, REFILL_MS);
		}
	}

	/** Makes the next spare then. */
	#refill(digest: string, source: string, ms: number): void {
		this.#cancelRefill(digest);
		const timer = setTimeout(() => {
			this.#refills.delete(digest);
			return this.prepare(digest, source);
		}, ms);
		this.#refills.set(digest, { timer, at: Date.now() + ms });
	}

	#cancelRefill(digest: string): void {
		clearTimeout(this.#refills.get(digest)?.timer ?? null);
		this.#refills.delete(digest);
	}

	drop(digest: string): void {
		this.#cancelRefill(digest);
		this.#spares.get(digest)?.[Symbol.dispose]();
		this.#spares.delete(digest);
	}
}
