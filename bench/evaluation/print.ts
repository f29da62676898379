/** An evaluation for people. */
import { table } from "../table.ts";
import type { Evaluation } from "./evaluate.ts";
import { isFailed, type Row } from "./row.ts";

export function printEvaluation({ machine, link, workloads, interrupted }: Evaluation): string {
	const measured = workloads.filter((row): row is Row => !isFailed(row));
	const failed = workloads.filter(isFailed);
	return [
		`${machine.cpu}, ${machine.cores} cores, ${machine.memory_gb} GB, ${machine.system}, kernel ${machine.kernel}, Node ${machine.node}${interrupted ? " (interrupted)" : ""}`,
		`link ${link.profile}: ${link.first_byte_ms} ms to the first byte of each reply, ${link.mb_s} MB/s a connection; stores, peers and registry alike`,
		"",
		table([HEAD, ...measured.map(cells)]),
		...measured.flatMap(notes),
		...failed.map(({ workload, error }) => `${workload}: FAILED: ${error}`),
	].join("\n");
}

const HEAD = [
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

function cells(row: Row): string[] {
	const { setup_only, fetch_only } = row.arms;
	const ms = (value: number | undefined): string => (value === undefined ? "–" : value.toFixed(1));
	const times = (value: number | undefined | null): string =>
		value === undefined || value === null ? "–" : `${value.toFixed(2)}×`;
	const or = row.or_efficiency === undefined ? "" : ` or ${row.or_efficiency}`;
	return [
		row.workload,
		ms(row.arms.without?.start_ms.p50),
		ms(withOf(row)?.start_ms.p50),
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

/** The times of the arm that a row compares with "without". */
export function withOf(row: Row): Row["arms"][string] | undefined {
	return row.arms[withArmOf(row)];
}

/** That arm's name: "with", or one that begins so. */
export function withArmOf(row: Pick<Row, "arms">): string {
	const names = Object.keys(row.arms).filter((name) => name.startsWith("with") && name !== "without");
	return names.find((name) => name !== "with") ?? "with";
}

function notes(row: Row): string[] {
	const values = Object.entries(row.values).flatMap(([arm, all]) =>
		Object.entries(all).flatMap(([name, range]) =>
			range === null ? [] : [`${row.workload}, ${arm}: ${name} ${range.p50} (${range.min} … ${range.max})`],
		),
	);
	return [...values, ...(row.invalid === undefined ? [] : [`${row.workload}: INVALID: ${row.invalid}`])];
}
