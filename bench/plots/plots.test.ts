import { parseHTML } from "linkedom";
import { describe, expect, it } from "vitest";
import type { Evaluation } from "../evaluation/evaluate.ts";
import type { Row } from "../evaluation/row.ts";
import { startTimes } from "../report.ts";
import { fallsPlot } from "./falls.ts";
import { page } from "./page.ts";
import { speedupsPlot } from "./speedups.ts";
import { startsPlot } from "./starts.ts";

const row: Row = {
	workload: "cached",
	figures: ["fig13", "fig14"],
	isolation: "gvisor",
	with: "with",
	runs: 2,
	arms: { without: startTimes([300, 320]), with: startTimes([170, 180]) },
	speedup: 1.77,
	ideal_ms: 165,
	efficiency: 0.93,
	paper: 1.75,
	at_least: 1.8,
	reached: false,
	values: {},
	facts: {},
	waterfall: {
		without: [{ lane: "setup", name: "pull", begin: 1, end: 120 }],
		with: [
			{ lane: "setup", name: "pull", begin: 1, end: 118 },
			{ lane: "script", name: "RPCs", begin: 3, end: 90 },
			{ lane: "script", name: "done", begin: 40, end: 40 },
		],
	},
};

/** The drawing's elements of a kind; it must be one that a browser can show by itself. */
function elements(svg: string | undefined, name: string): ArrayLike<unknown> {
	expect(svg).toMatch(/^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" .*<\/svg>$/s);
	expect(svg).not.toMatch(/NaN|undefined/);
	return parseHTML(`<body>${svg}</body>`).document.querySelectorAll(name);
}

describe("plots", () => {
	it("draws a bar of each arm, with its figures", () => {
		const svg = startsPlot([row]);
		expect(elements(svg, "rect")).toHaveLength(2);
		expect(svg).toContain("175  (1.77×)");
	});

	it("draws our speedup, the paper's and the promised one", () => {
		expect(elements(speedupsPlot([row]), '[aria-label="dot"] > *')).toHaveLength(3);
	});

	it("draws a waterfall of each arm", () => {
		const svg = fallsPlot([row]);
		expect(elements(svg, '[aria-label="bar"] rect')).toHaveLength(4);
		for (const text of ["initscript: RPCs", "cached, without initscript", "at 40"])
			expect(svg).toContain(text);
	});

	it("draws nothing of nothing", () => {
		expect([startsPlot([]), speedupsPlot([{ ...row, paper: null, at_least: null }]), fallsPlot([])]).toEqual([
			undefined,
			undefined,
			undefined,
		]);
	});
});

describe("the report", () => {
	const evaluation: Evaluation = {
		machine: { cpu: "a & b", cores: 2, memory_gb: 8, kernel: "6", system: "Debian", node: "v22" },
		link: { profile: "s3", first_byte_ms: 25, mb_s: 69.5 },
		workloads: [
			row,
			{ workload: "etcd", figures: ["fig11"], error: "<none>", paper: 1.18, at_least: 1.3, reached: false },
			{
				workload: "hand-over",
				figures: ["fig14"],
				isolation: "gvisor",
				runs: 2,
				unit: "ms",
				...{ p50: 0.25, min: 0.2, max: 0.3, paper: 1, at_most: 0.3, reached: true },
			},
		],
		tables: [
			{
				table: "table4",
				title: "Table 4",
				total_bytes: 1_500_000,
				components: [{ name: "Application", bytes: 1_500_000 }],
				paper: { total_kb: 2485 },
			},
		],
		interrupted: true,
	};

	it("needs no other file, and takes no text for markup", () => {
		const html = page(evaluation);
		expect(html).not.toMatch(/<(script|link|img)\b|https?:\/\/(?!www\.w3\.org\/)/);
		for (const text of ["a &amp; b", "&lt;none&gt;", "The run was interrupted", "0.25 ms", "1500.0"])
			expect(html).toContain(text);
		const { document } = parseHTML(html);
		expect(document.querySelectorAll("svg")).toHaveLength(3);
		expect([...document.querySelectorAll("h2")].map(({ textContent }) => textContent?.split(":")[0])).toEqual(
			["Figure 11", "Figure 13", "Figure 14", "Table 4"],
		);
	});
});
