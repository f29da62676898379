/** Measures a workload: its arms take turns. */
import { describe } from "../../src/cli/errors.ts";
import type { Progress } from "../progress.ts";
import { alternate } from "../rounds.ts";
import { type Stop, untilStopped } from "../stop.ts";
import type { Sample, Site, Staged, Workload } from "../workloads/workload.ts";
import { limitRow } from "./limits.ts";
import { type AnyRow, type FailedRow, rowOf, type Samples } from "./row.ts";

export interface Series {
	runs: number;
	stop: Stop;
	line: Progress;
	/** Whether a start waits until the machine is quiet. */
	quiet: boolean;
}

/** How many starts a workload has in all. */
export function startsOf(workload: Pick<Workload, "arms">, runs: number): number {
	return workload.arms.length * (runs + 1);
}

/** The rows of a workload. What fails is told in them; none when it was stopped before there was anything to tell. */
export async function measure(workload: Workload, site: Site, series: Series): Promise<AnyRow[]> {
	const ends: (() => Promise<void>)[] = [];
	try {
		const isolation = workload.isolation ?? site.isolation;
		const staged = await workload.stage({ ...site, isolation, defer: (stop) => ends.push(stop) });
		const samples = await sample(workload, staged, series);
		const measured = {
			workload,
			isolation,
			samples,
			facts: staged.facts ?? {},
			interrupted: series.stop.requested,
		};
		const row = (name: string, of: () => AnyRow): AnyRow[] => {
			try {
				return [of()];
			} catch (error) {
				return series.stop.requested ? [] : [failed(name, error, workload)];
			}
		};
		return [
			...workload.rows.flatMap((comparison) => row(comparison.name, () => rowOf(measured, comparison))),
			...(workload.limits ?? []).flatMap((limit) => row(limit.name, () => limitRow(measured, limit))),
		];
	} catch (error) {
		if (series.stop.requested) return [];
		return [...workload.rows, ...(workload.limits ?? [])].map(({ name }) => failed(name, error, workload));
	} finally {
		for (const end of ends.reverse()) await end();
	}
}

async function sample(workload: Workload, staged: Staged, series: Series): Promise<Samples> {
	const { runs, stop, line } = series;
	const samples: Samples = Object.fromEntries(workload.arms.map((arm) => [arm, []]));
	await untilStopped(stop, alternate(workload.arms, runs), async ({ arm, round }) => {
		line.step(`${workload.name}, ${arm}${round === 0 ? ", warm-up" : `, run ${round}`}`);
		const one = await startOf(staged, arm, series).catch((error: unknown) => {
			throw new Error(`${arm}: ${describe(error)}`, { cause: error });
		});
		if (round > 0) samples[arm]?.push(one);
	});
	return samples;
}

/** One start, on a machine that has done with what was before it, and with what the node was prepared by. */
async function startOf(staged: Staged, arm: string, { quiet, line }: Series): Promise<Sample> {
	const start = staged.arms[arm];
	if (start === undefined) throw new Error("it is not staged");
	await staged.prepare?.(arm);
	if (quiet) await line.quiet();
	return start();
}

function failed(name: string, error: unknown, { rows, figures }: Workload): FailedRow {
	const row = rows.find((candidate) => candidate.name === name);
	return {
		workload: name,
		figures,
		error: describe(error),
		paper: row?.paper ?? null,
		at_least: row?.at_least ?? null,
		reached: false,
	};
}
