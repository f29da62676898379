import { expect, test } from "vitest";
import { MAX_SPARES, Pool, SPARES } from "./pool.ts";

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
	expect(pool.missing("t")).toBe(SPARES);
	let fail: (error: Error) => void = () => undefined;
	const made = pool.making(
		"t",
		new Promise<void>((_, reject) => {
			fail = reject;
		}),
	);
	expect(pool.missing("t")).toBe(SPARES - 1);
	fail(new Error("no bridge"));
	await expect(made).rejects.toThrow("no bridge");
	expect(pool.missing("t")).toBe(SPARES);
	pool.addSpare("t", "a");
	pool.removeSpare("a");
	expect(pool.takeSpare("t")).toBeUndefined();
});

test("an idle object is there once, however often it says so", () => {
	const pool = new Pool();
	pool.addIdle("a");
	pool.addIdle("a");
	expect([pool.takeIdle(), pool.takeIdle()]).toEqual(["a", undefined]);
});

test("a tenant gets no other's spare, and sees no other's instance", () => {
	const pool = new Pool();
	pool.addSpare("a", "1");
	expect(pool.takeSpare("b")).toBeUndefined();
	expect(pool.takeSpare("a")).toBe("1");
	pool.setLive("a", "i-1", "1");
	pool.setLive("b", "i-2", "2");
	expect([pool.live("a", "i-1"), pool.live("b", "i-1")]).toEqual(["1", undefined]);
	expect(pool.liveOf("b")).toEqual(["2"]);
});

test("with too many spares, those of the tenant that has wanted one least lately go", () => {
	const pool = new Pool();
	const tenants = Array.from({ length: MAX_SPARES / SPARES + 1 }, (_, index) => `t${index}`);
	for (const tenant of tenants) for (let n = 0; n < SPARES; n++) pool.addSpare(tenant, `${tenant}.${n}`);
	pool.addSpare("t0", String(pool.takeSpare("t0")));
	const gone = Array.from({ length: SPARES + 1 }, () => pool.takeSurplus());
	expect(gone).toEqual(["t1.0", "t1.1", "t1.2", undefined]);
	expect(pool.takeSpares("t2")).toHaveLength(SPARES);
	expect(pool.takeSpare("t2")).toBeUndefined();
});
