/** Rows that hold one figure of an arm against a bound. */
import { type Range, range } from "../report.ts";
import type { Limit } from "../workloads/workload.ts";
import type { Measured } from "./row.ts";

export interface LimitRow extends Range {
	workload: string;
	figures: readonly string[];
	isolation: string;
	/** How many samples. */
	runs: number;
	/** Of p50, min, max, paper and at_most. */
	unit: "ms" | "bytes" | "MB/s";
	interrupted?: true;
	paper: number | null;
	/** Of the median. */
	at_most: number | null;
	reached: boolean | null;
}

/** Throws where its arm has no sample. */
export function limitRow(measured: Measured, limit: Limit): LimitRow {
	const { name, arm, value, paper = null, at_most = null } = limit;
	const samples = (measured.samples[arm] ?? []).flatMap((sample) =>
		value === undefined ? sample.ms : (sample.values?.[value] ?? []),
	);
	const found = range(samples);
	if (found === null)
		throw new Error(`stopped before there was a sample of ${value ?? "the start"} of ${arm}`);
	return {
		workload: name,
		figures: measured.workload.figures,
		isolation: measured.isolation,
		runs: samples.length,
		unit: unitOf(value),
		...found,
		...(measured.interrupted ? { interrupted: true } : {}),
		paper,
		at_most,
		reached: at_most === null ? null : found.p50 <= at_most,
	};
}

function unitOf(value: string | undefined): LimitRow["unit"] {
	if (value?.endsWith("bytes")) return "bytes";
	return value?.endsWith("mb_s") ? "MB/s" : "ms";
}
