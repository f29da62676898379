import { describe, expect, test } from "vitest";
import { afterEnd, MAX_BACKOFF_MS, STEADY_MS } from "./policy.ts";

const error = { code: "appExited", message: "the application ended with status 3" } as const;
const spec = { max_restarts: 3, backoff: 100 };

describe("what follows the end of a service's instance", () => {
	test.each([
		["never", undefined, { next: "end", state: "stopped" }],
		["never", error, { next: "end", state: "failed", error }],
		["on-failure", undefined, { next: "end", state: "stopped" }],
		["on-failure", error, { next: "restart", row: 1, waitMs: 100 }],
		["always", undefined, { next: "restart", row: 1, waitMs: 100 }],
		["always", error, { next: "restart", row: 1, waitMs: 100 }],
	] as const)("restart = %s, error %o", (restart, how, next) => {
		const life = { row: 0, readyMs: 10, ...(how && { error: how }) };
		expect(afterEnd({ ...spec, restart }, life)).toEqual(next);
	});

	test("each restart in a row waits twice as long as the one before, up to a bound", () => {
		const wait = (row: number): number => {
			const next = afterEnd({ restart: "always", max_restarts: 1000, backoff: 100 }, { row, readyMs: 0 });
			return next.next === "restart" ? next.waitMs : 0;
		};
		expect([0, 1, 2, 3].map(wait)).toEqual([100, 200, 400, 800]);
		expect(wait(900)).toBe(MAX_BACKOFF_MS);
	});

	test("it is given up after the last of them, and the error says so", () => {
		expect(afterEnd({ ...spec, restart: "on-failure" }, { row: 3, readyMs: 0, error })).toEqual({
			next: "end",
			state: "failed",
			error: {
				code: "appExited",
				message: "given up after 3 restarts in a row: the application ended with status 3",
			},
		});
	});

	test("a long life begins a new row", () => {
		const next = afterEnd({ ...spec, restart: "on-failure" }, { row: 3, readyMs: STEADY_MS, error });
		expect(next).toEqual({ next: "restart", row: 1, waitMs: 100 });
	});
});
