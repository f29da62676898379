import type { InstanceRecord } from "../../src/shared/record.ts";
import type { Cell } from "./cells.ts";

/** What the caller of an invocation saw. `cut`: its connection broke, before the head or in the body. */
export type Seen =
	| { kind: "answer"; status: number; body: string; ms: number; instance: string }
	| { kind: "cut"; message: string; ms: number; instance: string };

export type Outcome = "right" | "error";

/** What came of a cell, or why that is none of what it may be. */
export type Verdict = { outcome: Outcome; code?: string } | { failure: string };

/** The function's own timeout and what the node may take beside it, ms. */
export const DEADLINE = 12_000 + 4_000;

/**
 * `right`: the right answer, perhaps by fallback. `error`: a typed error within the deadline; where the head had left before, a
 * broken transfer and the typed error in the instance's record; for a killed host the transport's error.
 */
export function judge(cell: Cell, expected: string, seen: Seen, record: InstanceRecord | undefined): Verdict {
	if (seen.ms > DEADLINE) return { failure: `it took ${Math.round(seen.ms)} ms` };
	if (seen.kind === "answer" && seen.status === 200) {
		return seen.body === expected
			? { outcome: "right" }
			: { failure: `a wrong answer: ${seen.body.slice(0, 200)}` };
	}
	if (seen.kind === "answer") {
		const code = typedError(seen.body);
		return code === undefined
			? { failure: `status ${seen.status} without a code: ${seen.body.slice(0, 200)}` }
			: { outcome: "error", code };
	}
	if (cell.victim === "host" && cell.fault === "kill") {
		if (record === undefined) return { failure: "the killed host's instance has no record" };
		return record.state === "interrupted"
			? { outcome: "error", code: "interrupted" }
			: { failure: `the killed host's instance is ${record.state}, not interrupted` };
	}
	if (cell.step === "answer half sent" && record?.error !== undefined) {
		return { outcome: "error", code: record.error.code };
	}
	return { failure: `the connection broke: ${seen.message}` };
}

function typedError(body: string): string | undefined {
	try {
		const error = JSON.parse(body) as { code?: unknown; message?: unknown };
		return typeof error.code === "string" && typeof error.message === "string" ? error.code : undefined;
	} catch {
		return undefined;
	}
}
