import { expect, test } from "vitest";
import { HandOver, type Invocation } from "./node.ts";

test("an invocation is handed over once", () => {
	const handOver = new HandOver();
	const first = { mode: "normal" } as Invocation;
	const second = { mode: "direct" } as Invocation;
	const tickets = [handOver.put(first), handOver.put(second)] as const;
	expect(handOver.take(tickets[1])).toBe(second);
	expect(handOver.take(tickets[0])).toBe(first);
	expect(handOver.take(tickets[0])).toBeUndefined();
});
