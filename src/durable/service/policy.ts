/** What follows the end of a service's instance. */
import type { ErrorValue } from "../../shared/error.ts";
import type { ServiceSpec } from "../../shared/service.ts";

/** An instance that was ready for so long is no part of a row of failures, milliseconds. */
export const STEADY_MS = 60_000;
/** The longest wait before a restart, milliseconds. */
export const MAX_BACKOFF_MS = 30_000;

/** One instance's life. */
export interface Life {
	/** How many restarts there were in a row before it. */
	row: number;
	/** How long it was ready, milliseconds. */
	readyMs: number;
	/** Absent: it ended by itself, with status 0. */
	error?: ErrorValue;
}

/** `row`: how many restarts there are in a row with this one. */
export type Next =
	| { next: "restart"; row: number; waitMs: number }
	| { next: "end"; state: "stopped" | "failed"; error?: ErrorValue };

export function afterEnd(
	{ restart, max_restarts, backoff }: Pick<ServiceSpec, "restart" | "max_restarts" | "backoff">,
	{ row, readyMs, error }: Life,
): Next {
	if (restart === "never" || (restart === "on-failure" && error === undefined)) {
		return error === undefined ? { next: "end", state: "stopped" } : { next: "end", state: "failed", error };
	}
	const before = readyMs >= STEADY_MS ? 0 : row;
	if (before >= max_restarts) {
		const { code, message } = error ?? { code: "appExited", message: "the application ended with status 0" };
		const given = `given up after ${before} restarts in a row: ${message}`;
		return { next: "end", state: "failed", error: { code, message: given } };
	}
	return { next: "restart", row: before + 1, waitMs: Math.min(backoff * 2 ** before, MAX_BACKOFF_MS) };
}
