import { expect, it } from "vitest";
import { alternate } from "./rounds.ts";

it("measures each arm once a round, after a warm-up, in turning order", () => {
	const order = [...alternate(["a", "b", "c"], 2)].map((step) => `${step.arm}${step.round}`);
	expect(order).toEqual(["a0", "b0", "c0", "b1", "c1", "a1", "c2", "a2", "b2"]);
});
