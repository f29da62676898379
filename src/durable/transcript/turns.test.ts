import { expect, test } from "vitest";
import type { RunnerStatus } from "../../bridge/bridge.ts";
import { Turns } from "./turns.ts";

const died = (generation: number, lastEnd: RunnerStatus["lastEnd"], lastHeardMillis = 500): RunnerStatus => ({
	pid: 1,
	generation: generation + 1,
	state: "ready",
	lastEnd,
	lastHeardMillis,
});

test("the script that had its turn first, and did not wait, ended the runner", async () => {
	const turns = new Turns();
	const [waiting, guilty, later] = [turns.begin(), turns.begin(), turns.begin()];
	const wait = waiting.during(new Promise(() => {}));
	void wait;
	expect(turns.blame(later, died(1, "stalled"))).toBeUndefined();
	expect(turns.blame(waiting, died(1, "stalled"))).toBeUndefined();
	expect(turns.blame(guilty, died(1, "stalled"))).toMatchObject({ code: "initscriptCpu" });
	turns.end(guilty);
	// What is known of that runner stays known.
	expect(turns.blame(later, died(1, "stalled"))).toBeUndefined();
	later.again();
	expect(turns.blame(later, died(2, "memory"))).toMatchObject({ code: "initscriptMemory" });
});

test("a script that went on later had its turn later", async () => {
	const turns = new Turns();
	const [first, second] = [turns.begin(), turns.begin()];
	await first.during(Promise.resolve());
	expect(turns.blame(second, died(1, "stalled"))).toMatchObject({ code: "initscriptCpu" });
});

test("a script that slept when the runner last answered is not to blame, unless it was alone", async () => {
	const turns = new Turns();
	const sleeper = turns.begin();
	await new Promise((resolve) => setTimeout(resolve, 60));
	expect(turns.blame(sleeper, died(1, "stalled", 0))).toMatchObject({ code: "initscriptCpu" });
	const guilty = turns.begin();
	expect(turns.blame(sleeper, died(2, "stalled", 10))).toBeUndefined();
	expect(turns.blame(guilty, died(2, "stalled", 10))).toMatchObject({ code: "initscriptCpu" });
});

test("nobody is to blame for a runner that was killed", () => {
	const turns = new Turns();
	expect(turns.blame(turns.begin(), died(1, "exited"))).toBeUndefined();
});
