import { expect, test } from "vitest";
import { announceSuites, chooseSuites } from "./test.ts";

test("says how long it takes, and what is built first", () => {
	const rust = chooseSuites(["rust"]);
	expect(announceSuites(rust, true)).toBe("Tests: rust. About 2 minutes.");
	expect(announceSuites(rust, false)).toBe(
		"Tests: rust. About 2 minutes, and once 5 more (4500 MB on disk) for the debug build of Rust.",
	);
	expect(announceSuites(chooseSuites(["unit"]), false)).toBe("Tests: unit. About 1 minute.");
});

test("an unknown name is told before anything is done", () => {
	expect(chooseSuites([]).map(({ name }) => name)).toEqual([
		"unit",
		"rust",
		"python",
		"clients",
		"end to end",
	]);
	expect(() => chooseSuites(["e2e"])).toThrow('there are no tests "e2e": npm test -- ["unit", ');
});
