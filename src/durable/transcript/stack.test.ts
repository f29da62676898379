import { expect, test } from "vitest";
import { mapStack } from "./stack.ts";

/** Line 1 of the bundle is line 12 of main.ts. */
const map = JSON.stringify({ version: 3, sources: ["main.ts"], names: [], mappings: "AAWA" });

test("places of the bundle become places of the source", () => {
	expect(mapStack("Error: x\n    at main (script.js:1:1)\n    at script.js:1:5", map)).toBe(
		"Error: x\n    at main (main.ts:12:1)\n    at main.ts:12:1",
	);
});

test("what is not in the map stays, and so does a stack without a map or with a broken one", () => {
	const stack = "Error: at 10:30\n    at other (elsewhere.js:99:1)";
	expect(mapStack(stack, map)).toBe(stack);
	expect(mapStack(stack, undefined)).toBe(stack);
	for (const broken of ["{", "null", '{"version":3}', '{"version":3,"sources":["a"],"mappings":[[null]]}'])
		expect(mapStack("at script.js:1:1", broken)).toBe("at script.js:1:1");
});

test("a stack of the script's own making takes no longer than another, and has no place that cannot be", () => {
	for (const word of ["x", "1", "1:", ":0"]) {
		const stack = word.repeat((1 << 20) / word.length);
		expect(mapStack(stack, map)).toBe(stack);
	}
	const odd = "at script.js:0:0 script.js:99999999999:1 script.js:1:99999999999";
	expect(mapStack(odd, map)).toBe(odd);
});
