import { expect, test } from "vitest";
import { announcement, checkAll } from "./setup.ts";
import type { Step } from "./step.ts";
import { lacking } from "./steps/debian.ts";
import { judgeCargo } from "./steps/rust.ts";

function step(name: string, part: Partial<Step> = {}): Step {
	return {
		name,
		cost: { downloadMb: 10, diskMb: 20, minutes: 1 },
		done: async () => false,
		run: async () => undefined,
		...part,
	};
}

test("says what it will do before it starts", () => {
	const half = { cost: { downloadMb: 10, diskMb: 20, minutes: 0.5 } };
	expect(announcement([step("a"), step("b", half)])).toBe(
		"Setting up: a, b. About 20 MB to download, 40 MB on disk, 2 minutes.",
	);
});

test("all that a person has to do is listed at once", async () => {
	const steps = [
		step("a", { check: async () => ["no a", "no b"] }),
		step("b"),
		step("c", { check: async () => ["no c"] }),
	];
	await expect(checkAll(steps)).rejects.toThrow(/:\n- no a\n- no b\n- no c$/);
	await checkAll([step("b"), step("d", { check: async () => [] })]);
});

test("what cannot be installed is told with the command that would", () => {
	const how = "sh setup/runsc.sh";
	expect(lacking("runsc", how, { isDebian: true, isRoot: true })).toEqual([]);
	expect(lacking("runsc", how, { isDebian: true, isRoot: false })).toEqual([
		"this is not root: run this as root, or first: sudo sh setup/runsc.sh",
	]);
	expect(lacking("runsc", how, { isDebian: false, isRoot: true })).toEqual([
		"this is not Debian: install by your system's own means: runsc",
	]);
});

test("a missing or old cargo is told", () => {
	expect(judgeCargo(undefined, "1.92")[0]).toMatch(/^cargo is not there: install Rust 1.92 or newer/);
	expect(judgeCargo("cargo 1.63.0\n", "1.92")[0]).toMatch(/^cargo 1.63 is too old/);
	expect(judgeCargo("cargo 1.92.0 (abc 2025-01-01)\nhost: x\n", "1.92")).toEqual([]);
	expect(judgeCargo("cargo 2.0.0\n", "1.92")).toEqual([]);
});
