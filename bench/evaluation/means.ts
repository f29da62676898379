/** Rows that state the mean of others, as the paper does of a figure. */
import { round } from "../stats.ts";
import type { Comparison, Workload } from "../workloads/workload.ts";
import { type AnyRow, isRow, type Row } from "./row.ts";

export interface MeanRow {
	workload: string;
	figures: readonly string[];
	/** The rows that it is the mean of: those of the figure that could be measured. */
	mean_of: string[];
	speedup: number;
	paper: number | null;
	at_least: number | null;
	or_efficiency?: number;
	/** By the mean, or by the efficiency of each row. */
	reached: boolean | null;
}

/** One for each figure that has two or more rows that count. */
export function meansOf(workloads: readonly Workload[], rows: readonly AnyRow[]): MeanRow[] {
	const counted = workloads.flatMap(({ figures, rows: all }) =>
		all.filter(({ inMean }) => inMean).map((comparison) => ({ figure: figures[0] ?? "", comparison })),
	);
	return [...new Set(counted.map(({ figure }) => figure))].flatMap((figure) => {
		const own = counted.filter((entry) => entry.figure === figure).map(({ comparison }) => comparison);
		const found = own.flatMap(
			({ name }) => rows.filter(isRow).find(({ workload }) => workload === name) ?? [],
		);
		const [first] = own;
		return found.length < 2 || first === undefined ? [] : [meanOf(figure, first, found, own.length)];
	});
}

function meanOf(
	figure: string,
	{ paper, at_least, or_efficiency }: Comparison,
	rows: Row[],
	all: number,
): MeanRow {
	const speedup = rows.reduce((sum, row) => sum + row.speedup, 0) / rows.length;
	const efficient = rows.every(
		({ efficiency = 0, invalid }) => or_efficiency !== undefined && !invalid && efficiency >= or_efficiency,
	);
	const whole = rows.length === all;
	return {
		workload: `mean of ${figure}${whole ? "" : ` (${rows.length} of ${all})`}`,
		figures: [figure],
		mean_of: rows.map(({ workload }) => workload),
		speedup: round(speedup, 3),
		paper: paper ?? null,
		at_least: at_least ?? null,
		...(or_efficiency === undefined ? {} : { or_efficiency }),
		reached: at_least === undefined ? null : whole && (speedup >= at_least || efficient),
	};
}
