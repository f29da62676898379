import { expect, test } from "vitest";
import { Arrivals } from "./arrivals.ts";

test("all who wait for a thing have it when it comes, and nobody has another", async () => {
	const arrivals = new Arrivals<number>();
	const waits = [arrivals.wait("a", 10_000), arrivals.wait("a", 10_000), arrivals.wait("b", 10_000)];
	arrivals.settle("a", 1);
	arrivals.settle("b", undefined);
	expect(await Promise.all(waits)).toEqual([1, 1, undefined]);
});

test("a wait ends, and what came before it is not remembered", async () => {
	const arrivals = new Arrivals<number>();
	arrivals.settle("a", 1);
	expect(await arrivals.wait("a", 1)).toBeUndefined();
	const wait = arrivals.wait("a", 10_000);
	arrivals.settle("a", 2);
	expect(await wait).toBe(2);
});
