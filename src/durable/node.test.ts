import { expect, test } from "vitest";
import { HandOver, type Invocation, Pool, SPARES } from "./node.ts";

test("a warm object is taken by one, the last kept first, and not after it has left", () => {
	const pool = new Pool();
	pool.addWarm("f", "a");
	pool.addWarm("f", "b");
	pool.addWarm("g", "c");
	expect(pool.takeWarm("f")).toBe("b");
	expect(pool.removeWarm("f", "b")).toBe(false);
	expect(pool.removeWarm("f", "a")).toBe(true);
	expect(pool.takeWarm("f")).toBeUndefined();
	expect(pool.warmOf("g")).toEqual(["c"]);
});

test("spares that are being made are not missing, until they fail", async () => {
	const pool = new Pool();
	expect(pool.missing).toBe(SPARES);
	let fail: (error: Error) => void = () => undefined;
	const made = pool.making(
		new Promise<void>((_, reject) => {
			fail = reject;
		}),
	);
	expect(pool.missing).toBe(SPARES - 1);
	fail(new Error("no bridge"));
	await expect(made).rejects.toThrow("no bridge");
	expect(pool.missing).toBe(SPARES);
	pool.addSpare("a");
	pool.removeSpare("a");
	expect(pool.takeSpare()).toBeUndefined();
});

test("an idle object is there once, however often it says so", () => {
	const pool = new Pool();
	pool.addIdle("a");
	pool.addIdle("a");
	expect([pool.takeIdle(), pool.takeIdle()]).toEqual(["a", undefined]);
});

test("an invocation is handed over once", () => {
	const handOver = new HandOver();
	const first = { mode: "normal" } as Invocation;
	const second = { mode: "direct" } as Invocation;
	const tickets = [handOver.put(first), handOver.put(second)] as const;
	expect(handOver.take(tickets[1])).toBe(second);
	expect(handOver.take(tickets[0])).toBe(first);
	expect(handOver.take(tickets[0])).toBeUndefined();
});
