/** An evaluation for people. */
import { binaryCells, printBinary } from "../binary/print.ts";
import { markdown, table } from "../table.ts";
import type { Evaluation } from "./evaluate.ts";
import type { LimitRow } from "./limits.ts";
import { isFailed, isLimit, isRow, type Row } from "./row.ts";

export function printEvaluation({ machine, link, workloads, tables = [], interrupted }: Evaluation): string {
	const measured = workloads.filter(isRow);
	const limits = workloads.filter(isLimit);
	const failed = workloads.filter(isFailed);
	return [
		`${machine.cpu}, ${machine.cores} cores, ${machine.memory_gb} GB, ${machine.system}, kernel ${machine.kernel}, Node ${machine.node}${interrupted ? " (interrupted)" : ""}`,
		`link ${link.profile}: ${link.first_byte_ms} ms to the first byte of each reply, ${link.mb_s} MB/s a connection; stores, peers and registry alike`,
		"",
		...(measured.length === 0 ? [] : [table([HEAD, ...measured.map(cells)])]),
		...measured.flatMap(notes),
		...(limits.length === 0 ? [] : ["", table([LIMIT_HEAD, ...limits.map(limitCells)])]),
		...tables.flatMap((binary) => ["", printBinary(binary)]),
		...failed.map(({ workload, error }) => `${workload}: FAILED: ${error}`),
	].join("\n");
}

/** The tables alone, as docs/evaluation.md has them. */
export function printMarkdown({ workloads, tables = [] }: Evaluation): string {
	const measured = workloads.filter(isRow).map(cells);
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

export function cells(row: Row): string[] {
	const { setup_only, fetch_only } = row.arms;
	const ms = (value: number | undefined): string => (value === undefined ? "–" : value.toFixed(1));
	const times = (value: number | undefined | null): string =>
		value === undefined || value === null ? "–" : `${value.toFixed(2)}×`;
	const or = row.or_efficiency === undefined ? "" : ` or ${row.or_efficiency}`;
	return [
		row.workload,
		ms(row.arms.without?.start_ms.p50),
		ms(row.arms[row.with]?.start_ms.p50),
		times(row.speedup),
		times(row.paper),
		`${times(row.at_least)}${or}`,
		row.efficiency === undefined ? "–" : row.efficiency.toFixed(3),
		ms(setup_only?.start_ms.p50),
		ms(fetch_only?.start_ms.p50),
		ms(row.load_ms),
		ms(row.ideal_ms),
		times(row.speedup_image_present),
		row.reached === null ? "" : row.reached ? "yes" : "NO",
	];
}

export const LIMIT_HEAD = ["figure", "p50", "min", "max", "paper", "at most", "reached"];

export function limitCells(row: LimitRow): string[] {
	const say = (value: number | null): string => (value === null ? "–" : `${value} ${row.unit}`);
	return [
		row.workload,
		say(row.p50),
		say(row.min),
		say(row.max),
		say(row.paper),
		say(row.at_most),
		row.reached === null ? "" : row.reached ? "yes" : "NO",
	];
}

function notes(row: Row): string[] {
	const values = Object.entries(row.values[row.with] ?? {}).flatMap(([name, range]) =>
		range === null ? [] : [`${row.workload}: ${name} ${range.p50} (${range.min} … ${range.max})`],
	);
	return [...values, ...(row.invalid === undefined ? [] : [`${row.workload}: INVALID: ${row.invalid}`])];
}
