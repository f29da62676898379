/** Our speedups beside the paper's. */
import * as Plot from "@observablehq/plot";
import type { Row } from "../evaluation/row.ts";
import { COLORS, draw } from "./draw.ts";

interface Speedup {
	workload: string;
	whose: string;
	speedup: number;
}

const OURS = "ours";
const PRESENT = "ours, image present";
const PAPER = "paper";
const PROMISE = "promised";

/** Undefined where nothing is said or promised of these rows. */
export function speedupsPlot(rows: readonly Row[]): string | undefined {
	const shown = rows.filter(({ paper, at_least }) => paper !== null || at_least !== null);
	if (shown.length === 0) return undefined;
	const of = (whose: string, speedup: (row: Row) => number | null | undefined): Speedup[] =>
		shown.flatMap((row) => {
			const value = speedup(row);
			return typeof value === "number" ? [{ workload: row.workload, whose, speedup: value }] : [];
		});
	const points = [
		...of(PAPER, ({ paper }) => paper),
		...of(PROMISE, ({ at_least }) => at_least),
		...of(PRESENT, ({ speedup_image_present }) => speedup_image_present),
		...of(OURS, ({ speedup }) => speedup),
	];
	const all = points.map((point) => point.speedup);
	return draw({
		height: 60 + 26 * shown.length,
		marginBottom: 44,
		marginLeft: 190,
		marginRight: 60,
		x: {
			label: "speedup, × →",
			labelOffset: 38,
			grid: true,
			domain: [Math.min(0.8, ...all) - 0.02, Math.max(2, ...all) + 0.1],
		},
		y: { label: null, domain: shown.map(({ workload }) => workload) },
		symbol: { domain: [OURS, PRESENT, PAPER, PROMISE], range: ["circle", "circle", "diamond", "triangle"] },
		marks: [
			Plot.ruleX([1], { strokeDasharray: "3 3" }),
			Plot.dot(
				points.filter(({ whose }) => whose === PAPER),
				{ ...AT, symbol: "diamond", stroke: COLORS.paper, r: 5 },
			),
			Plot.dot(
				points.filter(({ whose }) => whose === PROMISE),
				{ ...AT, symbol: "triangle", stroke: COLORS.promise, r: 4 },
			),
			Plot.dot(
				points.filter(({ whose }) => whose === PRESENT),
				{ ...AT, stroke: COLORS.with, r: 5 },
			),
			Plot.dot(
				points.filter(({ whose }) => whose === OURS),
				{ ...AT, fill: COLORS.with, r: 5 },
			),
		],
	});
}

const AT = { x: "speedup", y: "workload" } as const;
