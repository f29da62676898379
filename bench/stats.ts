/** What is reported of a series of samples. All in the unit of the samples. */
export interface Spread {
	p50: number;
	p95: number;
	min: number;
	max: number;
}

/**
 * The p-th quantile (0…1) of samples, linear between the two nearest ranks; undefined when there are none.
 *
 * @example quantile([1, 2, 3, 4], 0.5) // 2.5
 */
export function quantile(samples: readonly number[], p: number): number | undefined {
	const sorted = [...samples].sort((a, b) => a - b);
	const rank = (sorted.length - 1) * p;
	const below = sorted[Math.floor(rank)];
	const above = sorted[Math.ceil(rank)];
	if (below === undefined || above === undefined) return undefined;
	return below + (above - below) * (rank - Math.floor(rank));
}

export function median(samples: readonly number[]): number | undefined {
	return quantile(samples, 0.5);
}

/** The spread of samples, or undefined when there are none. */
export function spread(samples: readonly number[]): Spread | undefined {
	const p50 = quantile(samples, 0.5);
	const p95 = quantile(samples, 0.95);
	if (p50 === undefined || p95 === undefined) return undefined;
	return { p50, p95, min: Math.min(...samples), max: Math.max(...samples) };
}

/** Rounds to a number of decimals, for print. */
export function round(value: number, decimals: number): number {
	const scale = 10 ** decimals;
	return Math.round(value * scale) / scale;
}
