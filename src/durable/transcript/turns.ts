/**
 * Which script ended a runner that stalled or had no memory left. A WASM script cannot: it is metered. A TypeScript script
 * computes as long as it likes, and all others of its runner stand still meanwhile. So it is the one, of those that do not
 * wait for the host, that had its turn first since the runner last answered: the later ones have not come to theirs.
 */
import type { RunnerStatus } from "../../bridge/bridge.ts";
import type { ErrorValue } from "../../shared/error.ts";

/** Between the bridge's clock and ours. */
const SLACK_MS = 20;

/** The scripts of one runner that run. */
export class Turns {
	readonly #running = new Set<Turn>();
	#last = 0;
	#verdict: { generation: number; guilty: Turn | undefined } | undefined;

	/** A TypeScript script is given to the runner. */
	begin(): Turn {
		const turn = new Turn(() => ++this.#last);
		this.#running.add(turn);
		return turn;
	}

	end(turn: Turn): void {
		this.#running.delete(turn);
	}

	/** The error of this script, if it ended the runner that ended last; undefined for the others. */
	blame(turn: Turn, { generation, state, lastEnd, lastHeardMillis }: RunnerStatus): ErrorValue | undefined {
		if (lastEnd !== "stalled" && lastEnd !== "memory") return undefined;
		const ended = state === "dead" ? generation : generation - 1;
		if (this.#verdict?.generation !== ended) {
			this.#verdict = { generation: ended, guilty: this.#guilty(Date.now() - lastHeardMillis - SLACK_MS) };
		}
		if (this.#verdict.guilty !== turn) return undefined;
		return lastEnd === "stalled"
			? { code: "initscriptCpu", message: "cpu: it computed until its runner was ended as stalled" }
			: { code: "initscriptMemory", message: "memory: its runner was ended with its memory used up" };
	}

	/** @param heard is when the runner last answered, in milliseconds of the worker's clock. */
	#guilty(heard: number): Turn | undefined {
		const awake = [...this.#running]
			.filter((it) => !it.waiting)
			.sort((a, b) => a.given.order - b.given.order);
		// One that had its turn before that has slept, and woke up; that can be told when there is but one.
		return awake.find((it) => it.given.at >= heard) ?? (awake.length === 1 ? awake[0] : undefined);
	}
}

/** When a script was last given something to go on with. */
export class Turn {
	readonly #next: () => number;
	#given: { order: number; at: number };
	#waits = 0;

	constructor(next: () => number) {
		this.#next = next;
		this.#given = { order: next(), at: Date.now() };
	}

	/** Among the turns of all, and in milliseconds of the worker's clock. */
	get given(): { order: number; at: number } {
		return this.#given;
	}

	get waiting(): boolean {
		return this.#waits > 0;
	}

	/** The script is given to the next runner. */
	again(): void {
		this.#waits = 0;
		this.#give();
	}

	/** The script waits for this, and goes on when it is there. */
	async during<T>(wait: Promise<T>): Promise<T> {
		this.#waits += 1;
		try {
			return await wait;
		} finally {
			this.#waits = Math.max(0, this.#waits - 1);
			this.#give();
		}
	}

	#give(): void {
		this.#given = { order: this.#next(), at: Date.now() };
	}
}

const byTenant = new Map<string, Turns>();

/** A tenant has no runner any more. */
export function forgetTurns(tenant: string): void {
	byTenant.delete(tenant);
}

/** Those of a tenant's runner. */
export function turnsOf(tenant: string): Turns {
	const turns = byTenant.get(tenant) ?? new Turns();
	byTenant.set(tenant, turns);
	return turns;
}
