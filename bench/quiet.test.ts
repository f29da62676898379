import { expect, it } from "vitest";
import { idleBetween, parseMachineTime, waitForQuiet } from "./quiet.ts";

it("reads the machine's time", () => {
	const time = parseMachineTime("cpu  10 1 5 80 4 0 1 2 0 0\ncpu0 1 1 1 1\n");
	expect(time).toEqual({ idle: 84, total: 103 });
	expect(idleBetween({ idle: 0, total: 0 }, { idle: 50, total: 200 })).toBe(0.25);
	expect(idleBetween(time, time)).toBe(1);
});

it("waits until nothing runs, and gives up at its limit", async () => {
	let reads = 0;
	const busyAtFirst = async (): Promise<{ idle: number; total: number }> => {
		reads++;
		return { idle: Math.max(0, reads - 3) * 100, total: reads * 100 };
	};
	expect(await waitForQuiet(10_000, busyAtFirst)).toBe(true);
	expect(reads).toBe(5);
	let total = 0;
	expect(await waitForQuiet(200, async () => ({ idle: 0, total: total++ }))).toBe(false);
});
