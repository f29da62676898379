/** Medians that the figures are made from, milliseconds. */
export interface Medians {
	without: number;
	with: number;
	setupOnly: number;
	fetchOnly: number;
	/** What only the app can do once its bytes are there. */
	load: number;
}

export interface Figures {
	/** How many times faster the start is with the initscript. */
	speedup: number;
	/** The best that any overlap could reach, milliseconds: max(setup, fetch) + load. */
	idealMs: number;
	/** The part of the possible saving that is reached: 1 is the ideal. */
	efficiency: number;
	/** Why these figures are not to be believed, when they are not. */
	invalid?: string;
}

/** An efficiency above this says that the arms do not measure what they claim to. */
export const MAX_EFFICIENCY = 1.02;

/** Efficiency, ideal and speedup, as docs/benchmarks.md defines them. */
export function figures(medians: Medians): Figures {
	const idealMs = Math.max(medians.setupOnly, medians.fetchOnly) + medians.load;
	const possible = medians.without - idealMs;
	const efficiency = (medians.without - medians.with) / possible;
	const result: Figures = { speedup: medians.without / medians.with, idealMs, efficiency };
	if (possible <= 0) {
		result.invalid = `the ideal (${idealMs.toFixed(1)} ms) is not below the start without an initscript (${medians.without.toFixed(1)} ms): nothing to gain`;
	} else if (efficiency > MAX_EFFICIENCY) {
		result.invalid = `efficiency ${efficiency.toFixed(3)} is above ${MAX_EFFICIENCY}: the start with the initscript (${medians.with.toFixed(1)} ms) is below the ideal (${idealMs.toFixed(1)} ms), so the arms are not comparable`;
	}
	return result;
}

/** The samples of each arm, in the order of the rounds, milliseconds. */
export type Samples = Record<keyof Medians, readonly number[]>;

/**
 * The efficiency of each complete round by itself, from its one sample of each arm, all taken within seconds. Their spread
 * says how far the figure of the medians is to be trusted. Rounds in which there was nothing to gain have none.
 */
export function roundEfficiencies(samples: Samples): number[] {
	return samples.without.flatMap((without, index) => {
		const [withScript, setupOnly, fetchOnly, load] = [
			samples.with[index],
			samples.setupOnly[index],
			samples.fetchOnly[index],
			samples.load[index],
		];
		if (withScript === undefined || setupOnly === undefined || fetchOnly === undefined || load === undefined)
			return [];
		const { idealMs, efficiency } = figures({ without, with: withScript, setupOnly, fetchOnly, load });
		return idealMs < without ? [efficiency] : [];
	});
}
