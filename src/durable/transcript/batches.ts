import type { Op } from "../../bridge/bridge.ts";
import { type ErrorValue, HeadstartError } from "../../shared/error.ts";

/** What the bridge is told of an instance: held until it has the instance's function, then sent at once, a batch after the other. */
export class Batches {
	readonly #send: (ops: Op[]) => Promise<void>;
	readonly #refused: (error: ErrorValue) => void;
	/** Ops that wait for the function; undefined once the bridge has it. */
	#held: Op[] | undefined = [];
	/** How many batches the bridge has not acknowledged. */
	#unacknowledged = 0;

	/** @param refused hears why the bridge does not take a batch */
	constructor(send: (ops: Op[]) => Promise<void>, refused: (error: ErrorValue) => void) {
		this.#send = send;
		this.#refused = refused;
	}

	get underWay(): boolean {
		return this.#unacknowledged > 0;
	}

	/** Whether there is one that the bridge may have applied or not. */
	get inDoubt(): boolean {
		return this.#held !== undefined || this.underWay;
	}

	/** The bridge has the function. */
	release(): void {
		const held = this.#held ?? [];
		this.#held = undefined;
		this.add(held);
	}

	add(ops: Op[]): void {
		if (ops.length === 0) return;
		if (this.#held !== undefined) {
			this.#held.push(...ops);
			return;
		}
		this.#unacknowledged += 1;
		this.#send(ops).then(
			() => {
				this.#unacknowledged -= 1;
			},
			(error: unknown) => {
				const { code, message } = HeadstartError.from(error);
				// An instance that is closing takes no more ops: its end is on the way. So is that of one out of reach.
				if (code === "instanceClosed" || code === "bridgeLost") return;
				this.#unacknowledged -= 1;
				this.#refused({ code, message: `the bridge refused a batch: ${message}` });
			},
		);
	}
}
