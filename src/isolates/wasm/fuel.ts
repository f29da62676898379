/**
 * The CPU reservation of a run: the fuel that its metered module (meter/) may use. It is given a slice at a time; between
 * slices others have their turn.
 */
import { LimitReached } from "../script/failure.ts";

/**
 * Fuel that a millisecond of `cpu` is worth. One fuel is about one instruction, and takes about a quarter of a nanosecond
 * or less; it is a fixed rate, so that a limit means the same on each machine and at each run.
 */
export const FUEL_PER_MS = 4_000_000;
/** What is given at a time. */
const SLICE = FUEL_PER_MS;
/** What a call of the host's costs, beside one fuel for each byte that it copies. */
export const CALL_FUEL = 4_000;
/** The counter never goes below: what a bulk instruction takes must fit below it. */
const LOWEST = -(2 ** 29);

export class Fuel {
	#counter: WebAssembly.Global | undefined;
	#limitMs = 0;
	/** What may still be given. */
	#left = 0;
	#alive: () => boolean = () => true;

	/** The module's counter, once it is there. */
	attach(counter: WebAssembly.Global): void {
		this.#counter = counter;
	}

	/** Gives the first slice. `alive` says whether anybody still waits for the run. */
	start(limitMs: number, alive: () => boolean): void {
		this.#limitMs = limitMs;
		this.#left = limitMs * FUEL_PER_MS;
		this.#alive = alive;
		this.#give();
	}

	/** Takes off what the host did for the module; it is noticed at the module's next look at its counter. */
	charge(amount: number): void {
		if (this.#counter === undefined) return;
		const left: number = this.#counter.value;
		this.#counter.value = Math.max(left - amount, LOWEST);
	}

	/** The module's call when it has none left. Rejects with {@link LimitReached} when it had all of its reservation. */
	async refill(): Promise<void> {
		while (this.#counter !== undefined && this.#counter.value < 0) this.#give();
		await scheduler.wait(0);
		if (!this.#alive()) throw new LimitReached("initscriptCpu", "cpu: the run is over");
	}

	#give(): void {
		const counter = this.#counter;
		if (counter === undefined) return;
		const given = Math.min(SLICE, this.#left);
		if (given <= 0) {
			const used = this.#limitMs - counter.value / FUEL_PER_MS;
			throw new LimitReached(
				"initscriptCpu",
				`cpu: ${used.toFixed(1)} ms of at most ${this.#limitMs} ms (${FUEL_PER_MS / 1e6} million instructions each)`,
			);
		}
		this.#left -= given;
		counter.value += given;
	}
}
