import { expect, it } from "vitest";
import { table } from "./table.ts";

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
