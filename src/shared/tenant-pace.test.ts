import { expect, test } from "vitest";
import { TenantPace } from "./tenant-pace.ts";

test("a burst at once, then as many as a second has, and each tenant for itself", async () => {
	const pace = new TenantPace({ perSecond: 10_000, burst: 1000 });
	const done: string[] = [];
	const turns = [
		["a", 600],
		["a", 400],
		["a", 500],
		["b", 1000],
	] as const;
	const began = Date.now();
	await Promise.all(
		turns.map(([tenant, bytes]) => pace.turn(tenant, bytes).then(() => done.push(`${tenant} ${bytes}`))),
	);
	expect(done).toEqual(["a 600", "a 400", "b 1000", "a 500"]);
	expect(Date.now() - began).toBeGreaterThanOrEqual(45);
});

test("what does not wait counts, and who has had too much is behind for a while", async () => {
	const pace = new TenantPace({ perSecond: 10_000, burst: 100 });
	pace.count("a", 90);
	expect([pace.isBehind("a"), pace.isBehind("b")]).toEqual([false, false]);
	pace.count("a", 110);
	expect([pace.isBehind("a"), pace.isBehind("b")]).toEqual([true, false]);
	await new Promise((resolve) => setTimeout(resolve, 50));
	expect(pace.isBehind("a")).toBe(false);
});
