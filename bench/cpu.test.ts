import { expect, it } from "vitest";
import { ownSeconds, parseStat, tree } from "./cpu.ts";

it("reads a stat line whose name has brackets and spaces", () => {
	const line = "42 (a) b (c) S 7 42 42 0 -1 4194304 1 2 3 4 150 50 9 9 20 0 1 0 100 200 300";
	expect(parseStat(line)).toEqual({ pid: 42, parent: 7, name: "a) b (c", seconds: 2 });
	expect(parseStat("")).toBeUndefined();
});

it("finds all that descend from a process", () => {
	const all = [
		{ pid: 1, parent: 0, name: "p", seconds: 1 },
		{ pid: 4, parent: 3, name: "p", seconds: 1 },
		{ pid: 2, parent: 1, name: "p", seconds: 1 },
		{ pid: 3, parent: 2, name: "p", seconds: 1 },
	];
	expect(tree(all, 2).map((process) => process.pid)).toEqual([2, 3, 4]);
	expect(tree(all, 9)).toEqual([]);
});

it("reads this process", () => {
	expect(ownSeconds(process.pid)).toBeGreaterThan(0);
	expect(ownSeconds(2 ** 30)).toBe(0);
});
