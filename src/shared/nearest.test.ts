import { expect, test } from "vitest";
import { nearest } from "./nearest.ts";

test("finds what is most like a text, and nothing where all is too different", () => {
	expect(nearest("isolaton", ["isolation", "image"])).toBe("isolation");
	expect(nearest("x", ["isolation", "image"])).toBeUndefined();
});

test("compares no more than it is told", () => {
	const texts = Array.from({ length: 50 }, (_, index) => "x".repeat(3_000 + index));
	const patience = { left: 10_000_000 };
	expect(nearest("y".repeat(3_000), texts, patience)).toBeUndefined();
	expect(patience.left).toBe(1_000_000);
	expect(nearest("imags", [...texts, "image"], patience)).toBe("image");
	expect(nearest("y".repeat(3_000), texts)).toBeUndefined();
});
