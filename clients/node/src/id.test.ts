import { expect, test } from "vitest";
import { fnv1a64, numberOf } from "./id.ts";

test("a text stands for its hash", () => {
	expect(fnv1a64("")).toBe(0xcbf29ce484222325n);
	expect(numberOf("foobar")).toBe(0x85944171f73967e8n);
	expect(numberOf((1n << 64n) - 1n)).toBe(18446744073709551615n);
});

test("a number out of range is refused", () => {
	expect(() => numberOf(-1n)).toThrow(RangeError);
	expect(() => numberOf(1n << 64n)).toThrow(RangeError);
});
