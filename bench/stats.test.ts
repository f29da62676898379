import { describe, expect, it } from "vitest";
import { median, quantile, round, spread } from "./stats.ts";

describe("quantile", () => {
	it("is undefined of nothing", () => {
		expect(quantile([], 0.5)).toBeUndefined();
		expect(spread([])).toBeUndefined();
	});

	it("lies between the nearest ranks", () => {
		expect(median([3, 1, 2])).toBe(2);
		expect(median([4, 1, 3, 2])).toBe(2.5);
		expect(quantile([0, 10], 0.95)).toBeCloseTo(9.5);
		expect(quantile([7], 0.95)).toBe(7);
	});

	it("sorts by number and leaves its input alone", () => {
		const samples = [10, 9, 100];
		expect(median(samples)).toBe(10);
		expect(samples).toEqual([10, 9, 100]);
	});
});

describe("spread", () => {
	it("has the middle, the tail and both ends", () => {
		expect(spread([5, 1, 3])).toEqual({ p50: 3, p95: 4.8, min: 1, max: 5 });
	});
});

it("rounds to decimals", () => {
	expect(round(1.23456, 3)).toBe(1.235);
	expect(round(-0.5004, 2)).toBe(-0.5);
});
