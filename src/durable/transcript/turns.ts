/**
 * Which script ended a runner that stalled or had no memory left. A WASM script cannot: it is metered. A TypeScript script
 * computes as long as it likes, and all others of its runner stand still meanwhile. So it is the one, of those that do not
 * wait for the host, that had its turn first: the later ones have not come to theirs.
 */
import type { RunnerStatus } from "../../bridge/bridge.ts";
import type { ErrorValue } from "../../shared/error.ts";

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
	blame(turn: Turn, { generation, state, lastEnd }: RunnerStatus): ErrorValue | undefined {
		if (lastEnd !== "stalled" && lastEnd !== "memory") return undefined;
		const ended = state === "dead" ? generation : generation - 1;
		if (this.#verdict?.generation !== ended) this.#verdict = { generation: ended, guilty: this.#first() };
		if (this.#verdict.guilty !== turn) return undefined;
		return lastEnd === "stalled"
			? { code: "initscriptCpu", message: "cpu: it computed until its runner was ended as stalled" }
			: { code: "initscriptMemory", message: "memory: its runner was ended with its memory used up" };
	}

	#first(): Turn | undefined {
		let first: Turn | undefined;
		for (const it of this.#running) {
			if (!it.waiting && (first === undefined || it.given < first.given)) first = it;
		}
		return first;
	}
}

/** When a script was last given something to go on with. */
export class Turn {
	readonly #next: () => number;
	#given: number;
	#waits = 0;

	constructor(next: () => number) {
		this.#next = next;
		this.#given = next();
	}

	get given(): number {
		return this.#given;
	}

	get waiting(): boolean {
		return this.#waits > 0;
	}

	/** The script is given to the next runner. */
	again(): void {
		this.#waits = 0;
		this.#given = this.#next();
	}

	/** The script waits for this, and goes on when it is there. */
	async during<T>(wait: Promise<T>): Promise<T> {
		this.#waits += 1;
		try {
			return await wait;
		} finally {
			this.#waits = Math.max(0, this.#waits - 1);
			this.#given = this.#next();
		}
	}
}

const byTenant = new Map<string, Turns>();

/** Those of a tenant's runner. */
export function turnsOf(tenant: string): Turns {
	const turns = byTenant.get(tenant) ?? new Turns();
	byTenant.set(tenant, turns);
	return turns;
}
