import { expect, test } from "vitest";
import type { InstanceRecord } from "../../src/shared/record.ts";
import type { Cell } from "./cells.ts";
import { DEADLINE, judge, type Seen } from "./judge.ts";

const cell: Cell = { isolation: "gvisor", step: "rpc sent", victim: "bridge", fault: "kill" };
const answer = (status: number, body: string, ms = 10): Seen => ({
	kind: "answer",
	status,
	body,
	ms,
	instance: "i",
});
const cut: Seen = { kind: "cut", message: "reset", ms: 10, instance: "i" };
const record = (state: string, code?: string): InstanceRecord =>
	({ state, ...(code && { error: { code, message: "" } }) }) as InstanceRecord;

test("the right answer is right, another is a failure", () => {
	expect(judge(cell, "yes", answer(200, "yes"), undefined)).toEqual({ outcome: "right" });
	expect(judge(cell, "yes", answer(200, "no"), undefined)).toHaveProperty("failure");
});

test("an error must be typed and in time", () => {
	const typed = '{"code":"bridgeLost","message":"gone"}';
	expect(judge(cell, "yes", answer(503, typed), undefined)).toEqual({ outcome: "error", code: "bridgeLost" });
	expect(judge(cell, "yes", answer(502, "Bad Gateway"), undefined)).toHaveProperty("failure");
	expect(judge(cell, "yes", answer(503, typed, DEADLINE + 1), undefined)).toHaveProperty("failure");
});

test("a broken connection is an error of a killed host only, or of half an answer whose record says why", () => {
	const host: Cell = { ...cell, victim: "host" };
	expect(judge(cell, "yes", cut, record("failed", "bridgeLost"))).toHaveProperty("failure");
	expect(judge(host, "yes", cut, record("interrupted"))).toEqual({ outcome: "error", code: "interrupted" });
	expect(judge(host, "yes", cut, undefined)).toHaveProperty("failure");
	const half: Cell = { ...cell, step: "answer half sent" };
	expect(judge(half, "yes", cut, record("failed", "bridgeLost"))).toEqual({
		outcome: "error",
		code: "bridgeLost",
	});
});
