import { describe, expect, it } from "vitest";
import type { Sample } from "../workloads/workload.ts";
import { limitRow } from "./limits.ts";
import { meansOf } from "./means.ts";
import { type Measured, reached, rowOf } from "./row.ts";

const starts = (...all: number[]): Sample[] => all.map((ms) => ({ ms }));

function measured(samples: Record<string, Sample[]>, interrupted = false): Measured {
	return { workload: { name: "w", figures: ["fig9"] }, isolation: "gvisor", samples, facts: {}, interrupted };
}

const ARMS = {
	without: starts(900, 1000, 1100),
	with: [600, 620, 640].map((ms) => ({ ms, load: 20 })),
	setup_only: starts(580, 600, 590),
	fetch_only: starts(400, 390, 410),
};

describe("a row", () => {
	it("has speedup, ideal and efficiency of the medians", () => {
		const row = rowOf(measured(ARMS), { name: "w", paper: 1.67, at_least: 1.7, or_efficiency: 0.95 });
		expect(row).toMatchObject({
			workload: "w",
			with: "with",
			runs: 3,
			speedup: 1.613,
			load_ms: 20,
			ideal_ms: 610,
			efficiency: 0.9744,
			paper: 1.67,
			at_least: 1.7,
			reached: true,
		});
		expect(row).not.toHaveProperty("interrupted");
		expect(row.arms.without?.start_ms).toMatchObject({ p50: 1000, min: 900, max: 1100 });
	});

	it("compares the arm that is named, and shows no other that plays its part", () => {
		const samples = {
			...ARMS,
			with_copy: starts(800),
			present_without: starts(200),
			present_with: starts(100),
		};
		const row = rowOf(measured(samples), { name: "copied", with: "with_copy" });
		expect(row).toMatchObject({ speedup: 1.25, with: "with_copy", runs: 1, reached: null, at_least: null });
		expect(Object.keys(row.arms)).toEqual([
			"without",
			"setup_only",
			"fetch_only",
			"with_copy",
			"present_without",
		]);
		expect(rowOf(measured(samples), { name: "w" }).speedup_image_present).toBe(2);
	});

	it("has neither ideal nor efficiency where the arms for it are not measured", () => {
		const row = rowOf(measured({ without: starts(100), with: starts(101) }), {
			name: "sleep",
			at_least: 0.98,
		});
		expect(row).toMatchObject({ speedup: 0.99, reached: true });
		expect(row).not.toHaveProperty("efficiency");
	});

	it("of an interrupted run keeps what is there, and says so", () => {
		const row = rowOf(measured({ ...ARMS, with: ARMS.with.slice(0, 1) }, true), { name: "w" });
		expect(row).toMatchObject({ runs: 1, interrupted: true, speedup: 1.667 });
	});

	it("cannot be made without a sample of both arms", () => {
		const none = measured({ ...ARMS, with: [] }, true);
		expect(() => rowOf(none, { name: "w" })).toThrow("stopped before there was a sample of the arm with");
	});

	it("shows the waterfall of a start that was measured, the one nearest to the median", () => {
		const segments = (name: string) => [{ lane: "app" as const, name, begin: 0, end: 1 }];
		const samples = {
			without: starts(10),
			with: [
				{ ms: 1, segments: segments("least") },
				{ ms: 5, segments: segments("middle") },
				{ ms: 90, segments: segments("most") },
			],
		};
		expect(rowOf(measured(samples), { name: "w" }).waterfall).toEqual({ with: segments("middle") });
	});
});

describe("a promise", () => {
	it("is kept by the speedup, or by an efficiency that is to be believed", () => {
		const row = { speedup: 1.2, efficiency: 0.97, at_least: 1.7, or_efficiency: 0.95 };
		expect(reached(row)).toBe(true);
		expect(reached({ ...row, efficiency: 0.9 })).toBe(false);
		expect(reached({ ...row, invalid: "not comparable" })).toBe(false);
		expect(reached({ speedup: 1.8, at_least: 1.7 })).toBe(true);
		expect(reached({ speedup: 1.2, at_least: null })).toBeNull();
	});
});

describe("a bound", () => {
	const samples = { with: [0.2, 0.4, 0.3].map((handover_ms) => ({ ms: 100, values: { handover_ms } })) };

	it("is held against the median of a figure", () => {
		const limit = { name: "hand-over", arm: "with", value: "handover_ms", paper: 1, at_most: 0.3 };
		expect(limitRow(measured(samples), limit)).toMatchObject({
			workload: "hand-over",
			runs: 3,
			unit: "ms",
			p50: 0.3,
			min: 0.2,
			max: 0.4,
			reached: true,
		});
	});

	it("may be of the start itself, or be none", () => {
		expect(limitRow(measured(samples), { name: "start", arm: "with" })).toMatchObject({
			p50: 100,
			reached: null,
		});
		expect(() => limitRow(measured(samples), { name: "start", arm: "none" })).toThrow(
			"a sample of the start of none",
		);
	});
});

describe("a mean", () => {
	const comparison = { paper: 1.67, at_least: 1.7, or_efficiency: 0.95, inMean: true };
	const rows = ["a", "b"].map((name) => rowOf(measured(ARMS), { ...comparison, name }));
	const workloads = ["a", "b"].map((name) => ({
		...{ name, figures: ["fig9"] as const, arms: [] },
		rows: [{ ...comparison, name }],
		stage: async () => ({ arms: {} }),
	}));

	it("is kept by the efficiency of each of its rows", () => {
		expect(meansOf(workloads, rows)).toEqual([
			{
				...{ workload: "mean of fig9", figures: ["fig9"], mean_of: ["a", "b"] },
				...{ speedup: 1.613, paper: 1.67, at_least: 1.7, or_efficiency: 0.95, reached: true },
			},
		]);
		const slow = rows.map((row, index) => (index === 0 ? row : { ...row, efficiency: 0.9 }));
		expect(meansOf(workloads, slow)).toMatchObject([{ reached: false }]);
	});

	it("says when a row is missing, and promises nothing then", () => {
		const more = [...workloads, { ...workloads[0], name: "c", rows: [{ ...comparison, name: "c" }] }];
		expect(meansOf(more as typeof workloads, rows)).toMatchObject([
			{ workload: "mean of fig9 (2 of 3)", reached: false },
		]);
		expect(meansOf(workloads, rows.slice(1))).toEqual([]);
	});
});
