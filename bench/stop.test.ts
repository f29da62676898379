import { expect, it } from "vitest";
import { stopOnSignal, untilStopped } from "./stop.ts";

it("ends after the item at which the stop came, and forgives its failure", async () => {
	const stop = stopOnSignal();
	const done: number[] = [];
	const write = process.stderr.write;
	process.stderr.write = () => true;
	try {
		const all = await untilStopped(stop, [1, 2, 3], async (item) => {
			done.push(item);
			if (item === 2) {
				process.emit("SIGINT");
				throw new Error("the node is going");
			}
		});
		expect(all).toBe(false);
		expect(done).toEqual([1, 2]);
	} finally {
		process.stderr.write = write;
		stop.release();
	}
});

it("passes failures on while no stop was asked for", async () => {
	const stop = { requested: false, release: () => undefined };
	await expect(untilStopped(stop, [1], () => Promise.reject(new Error("broken")))).rejects.toThrow("broken");
	expect(await untilStopped(stop, [1], () => Promise.resolve())).toBe(true);
});
