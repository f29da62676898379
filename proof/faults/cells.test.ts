import { expect, test } from "vitest";
import { cells, nameOf, notApplicable } from "./cells.ts";

test("two hundred cells, each either run or said to be impossible", () => {
	const run = cells().map(nameOf);
	const not = notApplicable().map(({ cell }) => cell);
	expect(run.length + not.length).toBe(200);
	expect(new Set([...run, ...not]).size).toBe(200);
	expect(not.every((cell) => cell.includes("app at"))).toBe(true);
});
