/** Waterfalls: what the time of a start went to, arm by arm. */
import * as Plot from "@observablehq/plot";
import type { Row } from "../evaluation/row.ts";
import type { Segment } from "../evaluation/waterfall.ts";
import { COLORS, draw } from "./draw.ts";

interface Piece extends Segment {
	arm: string;
	/** The line of the plot that it is on. */
	part: string;
	said: string;
}

/** The waterfalls of some rows' arms, on one scale; undefined where none was recorded. */
export function fallsPlot(rows: readonly Row[]): string | undefined {
	const pieces = rows.flatMap((row) =>
		["without", row.with].flatMap((arm) =>
			(row.waterfall?.[arm] ?? []).map((segment) => pieceOf(segment, label(row, arm))),
		),
	);
	const unique = [
		...new Map(pieces.map((piece) => [`${piece.arm}/${piece.part}/${piece.begin}`, piece])).values(),
	];
	if (unique.length === 0) return undefined;
	const shown = [...new Set(unique.map(({ arm }) => arm))];
	const parts = ORDER.flatMap((lane) => [
		...new Set(unique.filter((piece) => piece.lane === lane).map(({ part }) => part)),
	]);
	const begin = Math.min(0, ...unique.map((piece) => piece.begin));
	const end = Math.max(...unique.map((piece) => piece.end));
	return draw({
		height: 50 + shown.length * (26 + 17 * parts.length),
		marginBottom: 44,
		marginLeft: 150,
		marginRight: 10,
		marginTop: 30,
		x: { label: "ms since the request →", labelOffset: 38, grid: true, domain: [begin, end * 1.12] },
		y: { label: null, domain: parts, padding: 0.15 },
		fy: { label: null, axis: null, domain: shown, padding: 0.12 },
		color: { domain: [...ORDER], range: ORDER.map((lane) => COLORS[lane]) },
		marks: [
			Plot.frame({ strokeOpacity: 0.2 }),
			Plot.barX(unique, { x1: "begin", x2: "end", y: "part", fy: "arm", fill: "lane" }),
			Plot.tickX(unique, { x: "end", y: "part", fy: "arm", stroke: "lane", strokeWidth: 2 }),
			Plot.text(unique, {
				x: "end",
				y: "part",
				fy: "arm",
				text: "said",
				dx: 5,
				textAnchor: "start",
				fontSize: 11,
			}),
			Plot.text(shown, {
				fy: (arm: string) => arm,
				text: (arm: string) => arm,
				frameAnchor: "top-right",
				dx: -6,
				dy: 5,
				fontWeight: "bold",
			}),
		],
	});
}

const ORDER = ["setup", "script", "app"] as const;

function pieceOf(segment: Segment, arm: string): Piece {
	const part = segment.lane === "script" ? `initscript: ${segment.name}` : segment.name;
	const took = segment.end - segment.begin;
	const said = took === 0 ? `at ${segment.end.toFixed(0)}` : took < 10 ? took.toFixed(1) : took.toFixed(0);
	return { ...segment, arm, part, said };
}

/** Rows of one workload share their arm "without", which is shown once. */
function label({ workload }: Row, arm: string): string {
	return arm === "without"
		? `${workload.replace(/-(copied|mapped|written)$/, "")}, without initscript`
		: `${workload}, with initscript`;
}
