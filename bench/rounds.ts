/** One measurement of a plan: `round` 0 is the warm-up, whose sample is thrown away. */
export interface Step<Arm extends string> {
	arm: Arm;
	round: number;
}

/**
 * The order in which arms are measured: a warm-up of each, then `runs` rounds. In each round every arm has its turn, and
 * each round begins with another arm, so that slow drifts of the machine and the effect of the arm before hit all alike.
 *
 * @example alternate(["a", "b"], 2) // a0 b0, b1 a1, a2 b2
 */
export function* alternate<Arm extends string>(arms: readonly Arm[], runs: number): Generator<Step<Arm>> {
	for (let round = 0; round <= runs; round++) {
		const first = round % arms.length;
		for (const arm of [...arms.slice(first), ...arms.slice(0, first)]) yield { arm, round };
	}
}
