import { expect, test } from "vitest";
import { Slots } from "./slots.ts";

test("at most so many tasks at a time, in order, also when one fails", async () => {
	const slots = new Slots(2);
	const started: number[] = [];
	const ends: (() => void)[] = [];
	const task = (number: number): Promise<number> =>
		slots.use(async () => {
			started.push(number);
			await new Promise<void>((resolve) => ends.push(resolve));
			if (number === 0) throw new Error("as the test wants it");
			return number;
		});
	const results = Promise.allSettled([0, 1, 2, 3].map(task));
	expect(started).toEqual([0, 1]);
	for (let ended = 0; ended < 4; ended += 1) {
		ends.shift()?.();
		await scheduler.wait(1);
	}
	expect(started).toEqual([0, 1, 2, 3]);
	expect((await results).map((it) => it.status)).toEqual(["rejected", "fulfilled", "fulfilled", "fulfilled"]);
});

test("a slot of a task that never settles is free again when its holder has certainly ended", async () => {
	const slots = new Slots(1);
	const never = (): Promise<void> => new Promise(() => {});
	void slots.use(never, Date.now() + 20);
	void slots.use(never, Date.now() + 20);
	const third = slots.use(async () => "third");
	await scheduler.wait(30);
	expect(await slots.use(async () => "fourth")).toBe("fourth");
	expect(await third).toBe("third");
});
