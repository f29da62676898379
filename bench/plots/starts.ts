/** Start times without and with initscripts: bars at the median, whiskers from the least to the most. */
import * as Plot from "@observablehq/plot";
import type { Row } from "../evaluation/row.ts";
import { COLORS, draw } from "./draw.ts";

interface StartBar {
	workload: string;
	arm: "without" | "with";
	p50: number;
	min: number;
	max: number;
	said: string;
}

/** The bars of some rows; undefined where there are none. */
export function startsPlot(rows: readonly Row[]): string | undefined {
	const bars = rows.flatMap(barsOf);
	if (bars.length === 0) return undefined;
	const ideals = rows.flatMap(({ workload, ideal_ms }) =>
		ideal_ms === undefined ? [] : [{ workload, ideal_ms }],
	);
	const most = Math.max(...bars.map(({ max }) => max));
	return draw({
		height: 60 + 52 * rows.length,
		marginBottom: 44,
		marginLeft: 190,
		marginRight: 20,
		x: { label: "start, ms →", labelOffset: 38, grid: true, domain: [0, most * 1.22] },
		y: { axis: null, domain: ["without", "with"], padding: 0.1 },
		fy: { label: null, axis: "left", domain: rows.map(({ workload }) => workload), padding: 0.25 },
		color: { domain: ["without", "with"], range: [COLORS.without, COLORS.with] },
		marks: [
			Plot.barX(bars, { x: "p50", y: "arm", fy: "workload", fill: "arm" }),
			Plot.ruleY(bars, { x1: "min", x2: "max", y: "arm", fy: "workload", strokeWidth: 1.5 }),
			Plot.tickX(bars, { x: "min", y: "arm", fy: "workload", insetTop: 5, insetBottom: 5 }),
			Plot.tickX(bars, { x: "max", y: "arm", fy: "workload", insetTop: 5, insetBottom: 5 }),
			Plot.tickX(ideals, { x: "ideal_ms", fy: "workload", stroke: COLORS.promise, strokeWidth: 2 }),
			Plot.text(bars, { x: "max", y: "arm", fy: "workload", text: "said", dx: 6, textAnchor: "start" }),
			Plot.ruleX([0]),
		],
	});
}

function barsOf(row: Row): StartBar[] {
	return (["without", "with"] as const).flatMap((arm) => {
		const times = row.arms[arm === "without" ? "without" : row.with]?.start_ms;
		if (times === undefined) return [];
		const { p50, min, max } = times;
		const said = arm === "without" ? p50.toFixed(0) : `${p50.toFixed(0)}  (${row.speedup.toFixed(2)}×)`;
		return [{ workload: row.workload, arm, p50, min, max, said }];
	});
}
