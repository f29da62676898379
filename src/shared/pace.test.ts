import { expect, test } from "vitest";
import { Pace } from "./pace.ts";

test("a burst is due at once, the rest as the time goes, and quiet brings the burst back", async () => {
	const pace = new Pace({ perSecond: 1000, burst: 3 });
	expect([pace.count(1), pace.count(2)]).toEqual([0, 0]);
	expect(pace.count(40)).toBeGreaterThan(30);
	expect([pace.wait() > 0, pace.isQuiet()]).toEqual([true, false]);
	await new Promise((resolve) => setTimeout(resolve, 60));
	expect([pace.wait(), pace.isQuiet(), pace.count(3)]).toEqual([0, true, 0]);
});
