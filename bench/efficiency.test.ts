import { expect, it } from "vitest";
import { figures, roundEfficiencies } from "./efficiency.ts";

const medians = { without: 900, with: 520, setupOnly: 460, fetchOnly: 320, load: 40 };

it("counts the saving against the best overlap", () => {
	const { idealMs, efficiency, speedup, invalid } = figures(medians);
	expect(idealMs).toBe(500);
	expect(efficiency).toBeCloseTo(0.95);
	expect(speedup).toBeCloseTo(900 / 520);
	expect(invalid).toBeUndefined();
});

it("takes the fetch as the limit when it is longer than the setup", () => {
	expect(figures({ ...medians, fetchOnly: 600 }).idealMs).toBe(640);
});

it("says so when the result is better than the ideal", () => {
	expect(figures({ ...medians, with: 491 }).invalid).toMatch(/above 1\.02/);
	expect(figures({ ...medians, with: 493 }).invalid).toBeUndefined();
});

it("says so when there is nothing to gain", () => {
	expect(figures({ ...medians, without: 500 }).invalid).toMatch(/nothing to gain/);
});

it("pairs the arms of each complete round", () => {
	const samples = {
		without: [900, 1000, 500, 900],
		with: [520, 600, 520, 500],
		setupOnly: [460, 460, 460, 460],
		fetchOnly: [320, 320, 320, 320],
		load: [40, 40, 40],
	};
	const efficiencies = roundEfficiencies(samples);
	expect(efficiencies).toHaveLength(2);
	expect(efficiencies[0]).toBeCloseTo(0.95);
	expect(efficiencies[1]).toBeCloseTo(0.8);
});
