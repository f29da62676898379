import { expect, test } from "vitest";
import { Pace } from "./pace.ts";

test("a burst at once, then one every interval, in order", async () => {
	const pace = new Pace({ perSecond: 100, burst: 3 });
	const done: number[] = [];
	const calls = [0, 1, 2, 3, 4, 5].map((number) => pace.use(async () => void done.push(number)));
	expect(done).toEqual([0, 1, 2]);
	const began = Date.now();
	await Promise.all(calls);
	expect(done).toEqual([0, 1, 2, 3, 4, 5]);
	expect(Date.now() - began).toBeGreaterThanOrEqual(25);
});
