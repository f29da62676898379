import { expect, it } from "vitest";
import { duration, progress } from "./progress.ts";

function capture(isTTY: boolean): { isTTY: boolean; text: string; write(text: string): void } {
	return {
		isTTY,
		text: "",
		write(text: string): void {
			this.text += text;
		},
	};
}

it("tells the time left from the steps that are over", () => {
	const output = capture(true);
	let at = 1000;
	const line = progress(5, output, () => at);
	line.step("a");
	at += 2000;
	line.step("b");
	expect(output.text).toBe("\r\x1b[K1/5 a\r\x1b[K2/5 b, about 8 s left");
});

it("prints seldom where nothing rewrites lines", () => {
	const output = capture(false);
	let at = 0;
	const line = progress(4, output, () => at);
	for (const what of ["a", "b", "c"]) {
		line.step(what);
		at += 3000;
	}
	expect(output.text).toBe("1/4 a\n3/4 c, about 6 s left\n");
});

it("says durations for people", () => {
	expect(duration(200)).toBe("1 s");
	expect(duration(125_000)).toBe("2 min 5 s");
});
