import { expect, it } from "vitest";
import { markdown, table } from "./table.ts";

it("aligns its columns", () => {
	expect(
		table([
			["arm", "p50"],
			["without", "9"],
			["with", "812.5"],
		]),
	).toBe("arm        p50\n--------------\nwithout      9\nwith     812.5");
	expect(table([])).toBe("");
});

it("says the same in Markdown", () => {
	expect(
		markdown([
			["arm", "p50"],
			["a|b", "9"],
		]),
	).toBe("| arm | p50 |\n| --- | ---: |\n| a\\|b | 9 |");
	expect(markdown([])).toBe("");
});
