import { expect, test } from "vitest";
import { addCounts, countsIn } from "./counts.ts";

function sum(output: string): unknown {
	return output.split("\n").map(countsIn).reduce(addCounts);
}

test("vitest", () => {
	expect(sum(" Test Files  1 failed | 2 passed (3)\n      Tests  2 failed | 40 passed (42)\n")).toEqual({
		passed: 40,
		failed: 2,
	});
	expect(sum("\x1b[2m      Tests \x1b[22m \x1b[1m\x1b[32m6 passed\x1b[39m\x1b[22m (6)")).toEqual({
		passed: 6,
		failed: 0,
	});
});

test("cargo", () => {
	const line =
		"test result: FAILED. 11 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s";
	expect(sum(`${line}\n${line.replace("1 failed", "0 failed")}`)).toEqual({ passed: 22, failed: 1 });
});

test("unittest", () => {
	expect(sum("Ran 12 tests in 0.4s\n\nOK")).toEqual({ passed: 12, failed: 0 });
	expect(sum("Ran 12 tests in 0.4s\n\nFAILED (failures=1, errors=2)")).toEqual({ passed: 9, failed: 3 });
});
