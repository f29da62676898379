/** An evaluation for people. */
import { binaryCells, printBinary } from "../binary/print.ts";
import { markdown, table } from "../table.ts";
import type { Evaluation } from "./evaluate.ts";
import type { LimitRow } from "./limits.ts";
import type { MeanRow } from "./means.ts";
import { type AnyRow, isFailed, isLimit, isMean, isRow, type Row } from "./row.ts";

export function printEvaluation({ machine, link, workloads, tables = [], interrupted }: Evaluation): string {
	const measured = workloads.filter(isRow);
	const rows = measuredCells(workloads);
	const limits = workloads.filter(isLimit);
	const failed = workloads.filter(isFailed);
	return [
		`${machine.cpu}, ${machine.cores} cores, ${machine.memory_gb} GB, ${machine.system}, kernel ${machine.kernel}, Node ${machine.node}${interrupted ? " (interrupted)" : ""}`,
		`link ${link.profile}: ${link.first_byte_ms} ms to the first byte of each reply, ${link.mb_s} MB/s a connection; stores, peers and registry alike`,
		"",
		...(rows.length === 0 ? [] : [table([HEAD, ...rows])]),
		...measured.flatMap(notes),
		...(limits.length === 0 ? [] : ["", table([LIMIT_HEAD, ...limits.map(limitCells)])]),
		...tables.flatMap((binary) => ["", printBinary(binary)]),
		...failed.map(({ workload, error }) => `${workload}: FAILED: ${error}`),
	].join("\n");
}

/** The tables alone, as docs/evaluation.md has them. */
export function printMarkdown({ workloads, tables = [] }: Evaluation): string {
	const measured = measuredCells(workloads);
	const limits = workloads.filter(isLimit).map(limitCells);
	return [
		...(measured.length === 0 ? [] : [markdown([HEAD, ...measured])]),
		...(limits.length === 0 ? [] : [markdown([LIMIT_HEAD, ...limits])]),
		...tables.map((binary) => markdown(binaryCells(binary))),
	].join("\n\n");
}

export const HEAD = [
	"start, ms (p50)",
	"without",
	"with",
	"speedup",
	"paper",
	"at least",
	"efficiency",
	"setup",
	"fetch",
	"load",
	"ideal",
	"image there",
	"reached",
];

/** Of rows and of their means. */
export function measuredCells(rows: readonly AnyRow[]): string[][] {
	return [...rows.filter(isRow).map(cells), ...rows.filter(isMean).map(meanCells)];
}

function meanCells({ workload, speedup, paper, at_least, or_efficiency, reached }: MeanRow): string[] {
	const { times, promise, yes } = say;
	const none = HEAD.slice(7, -1).map(() => "");
	return [
		workload,
		"",
		"",
		times(speedup),
		times(paper),
		promise(at_least, or_efficiency),
		"",
		...none,
		yes(reached),
	];
}

/** How figures are said; a dash for what there is not. */
const say = {
	times: (value: number | undefined | null): string =>
		value === undefined || value === null ? "–" : `${value.toFixed(2)}×`,
	promise: (at_least: number | null, efficiency: number | undefined): string =>
		`${say.times(at_least)}${efficiency === undefined ? "" : ` or ${efficiency}`}`,
	yes: (reached: boolean | null): string => (reached === null ? "" : reached ? "yes" : "NO"),
};

function cells(row: Row): string[] {
	const { setup_only, fetch_only } = row.arms;
	const ms = (value: number | undefined): string => (value === undefined ? "–" : value.toFixed(1));
	const { times, promise, yes } = say;
	return [
		row.workload,
		ms(row.arms.without?.start_ms.p50),
		ms(row.arms[row.with]?.start_ms.p50),
		times(row.speedup),
		times(row.paper),
		promise(row.at_least, row.or_efficiency),
		row.efficiency === undefined ? "–" : row.efficiency.toFixed(3),
		ms(setup_only?.start_ms.p50),
		ms(fetch_only?.start_ms.p50),
		ms(row.load_ms),
		ms(row.ideal_ms),
		times(row.speedup_image_present),
		yes(row.reached),
	];
}

export const LIMIT_HEAD = ["figure", "p50", "min", "max", "paper", "at most", "reached"];

export function limitCells(row: LimitRow): string[] {
	const value = (figure: number | null): string => (figure === null ? "–" : `${figure} ${row.unit}`);
	const figures = [row.p50, row.min, row.max, row.paper, row.at_most].map(value);
	return [row.workload, ...figures, say.yes(row.reached)];
}

function notes(row: Row): string[] {
	const values = Object.entries(row.values[row.with] ?? {}).flatMap(([name, range]) =>
		range === null ? [] : [`${row.workload}: ${name} ${range.p50} (${range.min} … ${range.max})`],
	);
	return [...values, ...(row.invalid === undefined ? [] : [`${row.workload}: INVALID: ${row.invalid}`])];
}
