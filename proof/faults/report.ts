import { type Cell, nameOf, notApplicable } from "./cells.ts";
import type { Result } from "./run.ts";

/** What `npm run -s faults -- --json` prints. */
export interface FaultReport {
	/** Cells that were run. */
	cells: number;
	/** Cells that cannot occur, each with the reason. */
	not_applicable: { cell: string; why: string }[];
	right: number;
	error: number;
	failed: number;
	/** Cells after which something was left. */
	leaked: number;
	failures: { cell: string; why: string }[];
	/** Typed errors by their code. */
	errors: Record<string, number>;
	interrupted?: true;
}

export function report(
	results: ReadonlyMap<Cell, Result>,
	picked: (cell: string) => boolean,
	whole: boolean,
): FaultReport {
	const made: FaultReport = {
		cells: results.size,
		not_applicable: notApplicable().filter(({ cell }) => picked(cell)),
		right: 0,
		error: 0,
		failed: 0,
		leaked: 0,
		failures: [],
		errors: {},
		...(whole ? {} : { interrupted: true as const }),
	};
	for (const [cell, { verdict, leaks }] of results) {
		if ("failure" in verdict) {
			made.failed++;
			made.failures.push({ cell: nameOf(cell), why: verdict.failure });
		} else {
			made[verdict.outcome]++;
			if (verdict.code !== undefined) made.errors[verdict.code] = (made.errors[verdict.code] ?? 0) + 1;
		}
		if (leaks.length > 0) {
			made.leaked++;
			const left = leaks.map(({ kind, name }) => `${kind} ${name}`).join(", ");
			made.failures.push({ cell: nameOf(cell), why: `left: ${left}` });
		}
	}
	return made;
}

export function print({
	cells,
	not_applicable,
	right,
	error,
	failed,
	leaked,
	failures,
	errors,
}: FaultReport): string {
	const codes = Object.entries(errors)
		.map(([code, times]) => `${code} ${times}`)
		.join(", ");
	return [
		`${cells} cells: ${right} right, ${error} typed errors (${codes}), ${failed} failed; ${leaked} left something`,
		`${not_applicable.length} cells cannot occur`,
		...failures.map(({ cell, why }) => `  ${cell}: ${why}`),
	].join("\n");
}
