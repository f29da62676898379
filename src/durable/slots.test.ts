import { expect, test } from "vitest";
import { HeadstartError } from "../shared/error.ts";
import { Slots } from "./slots.ts";

function slotsOf(count: number): { slots: Slots; of: (tenant: string) => number; evicted: string[] } {
	const slots = new Slots(count);
	const evicted: string[] = [];
	return { slots, evicted, of: (tenant) => slots.of(tenant, (it) => void evicted.push(it)).number };
}

/** A call under way, and its end. */
function busy(slots: Slots, tenant: string): () => Promise<void> {
	let end = (): void => undefined;
	const call = slots
		.of(tenant, () => undefined)
		.during(() => new Promise<void>((resolve) => (end = resolve)));
	return () => {
		end();
		return call;
	};
}

test("each tenant has a slot of its own, and keeps it", () => {
	const { of, evicted } = slotsOf(3);
	expect(["a", "b", "a", "c", "b"].map(of)).toEqual([0, 1, 0, 2, 1]);
	expect(evicted).toEqual([]);
});

test("the one that is idle for the longest makes room", async () => {
	const { slots, of, evicted } = slotsOf(2);
	of("a");
	of("b");
	await busy(slots, "a")();
	expect(of("c")).toBe(1);
	expect(evicted).toEqual(["b"]);
	const slot = slots.of("b", () => undefined);
	expect([slot.number, slot.assigned]).toEqual([0, false]);
});

test("one that is at work stays; when all are, there is no room", async () => {
	const { slots, of } = slotsOf(2);
	const [endA, endB] = [busy(slots, "a"), busy(slots, "b")];
	expect(() => of("c")).toThrow(
		new HeadstartError("tooMany", "the node's 2 runners are all at work for other tenants"),
	);
	await endB();
	expect(of("c")).toBe(1);
	await endA();
	expect(of("a")).toBe(0);
});

test("what the bridge has from an earlier host is adopted where nobody is", () => {
	const { slots, of } = slotsOf(3);
	slots.adopt(2, "a");
	slots.adopt(2, "b");
	slots.adopt(7, "c");
	expect(slots.of("a", () => undefined)).toMatchObject({ number: 2, assigned: true });
	expect(["b", "c"].map(of)).toEqual([0, 1]);
	slots.drop("a");
	expect(of("d")).toBe(2);
});
