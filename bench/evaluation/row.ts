/** A row of a figure, from the samples of its workload's arms. */
import { figures, roundEfficiencies } from "../efficiency.ts";
import { type Range, range, roundFigures, type StartTimes, startTimes } from "../report.ts";
import { median, round } from "../stats.ts";
import type { Comparison, Sample, Workload } from "../workloads/workload.ts";
import type { LimitRow } from "./limits.ts";
import type { MeanRow } from "./means.ts";
import type { Segment } from "./waterfall.ts";

/** What was measured of a workload: of each arm its samples, in the order of the rounds. */
export type Samples = Record<string, Sample[]>;

/** Times in the unit of their name; sizes in bytes. */
export interface Row {
	workload: string;
	/** Of the paper, in which it is. */
	figures: readonly string[];
	isolation: string;
	/** The arm that is compared with "without": "with", or one that begins so. */
	with: string;
	/** Complete rounds. */
	runs: number;
	/** Set when it was stopped before its end. */
	interrupted?: true;
	/** Why ideal and efficiency are not to be believed, when they are not. */
	invalid?: string;
	arms: Record<string, StartTimes>;
	load_ms?: number;
	speedup: number;
	ideal_ms?: number;
	efficiency?: number;
	efficiency_rounds?: Range | null;
	/** The speedup when the node has the image. */
	speedup_image_present?: number;
	/** The paper's speedup, and the one that is promised; null where there is none. */
	paper: number | null;
	at_least: number | null;
	/** The promise is also kept with this efficiency. */
	or_efficiency?: number;
	/** Whether the promise is kept; null where there is none. */
	reached: boolean | null;
	/** Other figures by arm: "handover_ms". */
	values: Record<string, Record<string, Range | null>>;
	/** Sizes and the like. */
	facts: Record<string, number>;
	/** Of each arm's start that is nearest to the median, what its time went to. */
	waterfall?: Record<string, Segment[]>;
}

/** A workload that could not be measured. */
export interface FailedRow {
	workload: string;
	figures: readonly string[];
	error: string;
	paper: number | null;
	at_least: number | null;
	reached: false;
}

export type AnyRow = Row | LimitRow | MeanRow | FailedRow;

/** A row of starts that are compared. */
export function isRow(row: AnyRow): row is Row {
	return "arms" in row;
}

/** A row that is the mean of others. */
export function isMean(row: AnyRow): row is MeanRow {
	return "mean_of" in row;
}

/** A row of one figure and its bound. */
export function isLimit(row: AnyRow): row is LimitRow {
	return "unit" in row;
}

export function isFailed(row: AnyRow): row is FailedRow {
	return "error" in row;
}

export interface Measured {
	workload: Pick<Workload, "name" | "figures">;
	isolation: string;
	samples: Samples;
	facts: Record<string, number>;
	interrupted: boolean;
}

/** Throws where an arm of the comparison has no sample. */
export function rowOf(measured: Measured, comparison: Comparison): Row {
	const { samples, isolation, interrupted } = measured;
	const withArm = comparison.with ?? "with";
	const ms = (arm: string): number[] => (samples[arm] ?? []).map((sample) => sample.ms);
	const middle = (arm: string): number => {
		const value = median(ms(arm));
		if (value === undefined) throw new Error(`stopped before there was a sample of the arm ${arm}`);
		return value;
	};
	const speedup = middle("without") / middle(withArm);
	const shown = shownArms(Object.keys(samples), withArm);
	const row: Row = {
		workload: comparison.name,
		figures: measured.workload.figures,
		isolation,
		with: withArm,
		runs: Math.min(...shown.map((arm) => ms(arm).length)),
		...(interrupted ? { interrupted: true } : {}),
		arms: Object.fromEntries(
			shown.filter((arm) => ms(arm).length > 0).map((arm) => [arm, startTimes(ms(arm))]),
		),
		speedup: round(speedup, 3),
		paper: comparison.paper ?? null,
		at_least: comparison.at_least ?? null,
		...(comparison.or_efficiency === undefined ? {} : { or_efficiency: comparison.or_efficiency }),
		reached: null,
		values: Object.fromEntries(
			shown
				.map((arm) => [arm, valuesOf(samples[arm] ?? [])])
				.filter(([, all]) => Object.keys(all ?? {}).length),
		),
		facts: measured.facts,
		...bestPossible(samples, withArm),
		...present(samples, withArm),
	};
	const falls = shown.flatMap((arm) => {
		const segments = nearest(samples[arm] ?? [])?.segments;
		return segments === undefined ? [] : [[arm, segments] as const];
	});
	if (falls.length > 0) row.waterfall = Object.fromEntries(falls);
	row.reached = reached(row);
	return row;
}

/** The arms that a comparison shows: not those that play the same part in another one. */
function shownArms(arms: readonly string[], withArm: string): string[] {
	const parts = ["without", "setup_only", "fetch_only", withArm];
	return arms.filter(
		(arm) => parts.includes(arm) || arm === "present_without" || arm === `present_${withArm}`,
	);
}

function bestPossible(samples: Samples, withArm: string): Partial<Row> {
	const ms = (arm: string): number[] => (samples[arm] ?? []).map((sample) => sample.ms);
	const load = (samples[withArm] ?? []).map((sample) => sample.load ?? 0);
	const series = {
		without: ms("without"),
		with: ms(withArm),
		setupOnly: ms("setup_only"),
		fetchOnly: ms("fetch_only"),
		load,
	};
	const medians = {
		without: median(series.without),
		with: median(series.with),
		setupOnly: median(series.setupOnly),
		fetchOnly: median(series.fetchOnly),
		load: median(load),
	};
	if (!complete(medians)) return {};
	const { speedup: _, ...computed } = roundFigures(figures(medians));
	return {
		load_ms: round(medians.load, 2),
		...computed,
		efficiency_rounds: range(roundEfficiencies(series)),
	};
}

function complete<K extends string>(values: Record<K, number | undefined>): values is Record<K, number> {
	return Object.values(values).every((value) => value !== undefined);
}

function present(samples: Samples, withArm: string): Partial<Row> {
	const without = median((samples.present_without ?? []).map(({ ms }) => ms));
	const withScript = median((samples[`present_${withArm}`] ?? []).map(({ ms }) => ms));
	if (without === undefined || withScript === undefined) return {};
	return { speedup_image_present: round(without / withScript, 3) };
}

function valuesOf(samples: readonly Sample[]): Record<string, Range | null> {
	const names = new Set(samples.flatMap(({ values }) => Object.keys(values ?? {})));
	const of = (name: string): number[] => samples.flatMap(({ values }) => values?.[name] ?? []);
	return Object.fromEntries([...names].map((name) => [name, range(of(name))]));
}

/** The sample that is nearest to the median: one that was measured, so that its parts fit together. */
function nearest(samples: readonly Sample[]): Sample | undefined {
	const middle = median(samples.map(({ ms }) => ms)) ?? 0;
	return samples.reduce<Sample | undefined>(
		(best, sample) =>
			best === undefined || Math.abs(sample.ms - middle) < Math.abs(best.ms - middle) ? sample : best,
		undefined,
	);
}

/** Whether a row's promise is kept: by its speedup, or by its efficiency where that is enough. */
export function reached(
	row: Pick<Row, "speedup" | "efficiency" | "invalid" | "at_least" | "or_efficiency">,
): boolean | null {
	if (row.at_least === null) return null;
	if (row.speedup >= row.at_least) return true;
	const { efficiency, or_efficiency, invalid } = row;
	return or_efficiency !== undefined && efficiency !== undefined && !invalid && efficiency >= or_efficiency;
}
