import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { quantile } from "../../bench/stats.ts";
import type { NodeClient } from "../../src/cli/client.ts";
import { startSmall } from "../small.ts";

/** What a neighbour tenant saw: how long its invocations took, ms, and what went wrong. */
export interface Neighbour {
	times: number[];
	errors: string[];
}

/** The neighbour's pause between two invocations, ms: it is not the one that loads the machine. */
const PAUSE = 20;

/** Invokes the small function cold, again and again, until `done` says so. */
export async function work(client: NodeClient, done: () => boolean): Promise<Neighbour> {
	const seen: Neighbour = { times: [], errors: [] };
	for (let number = 0; !done(); number++) {
		const began = performance.now();
		const wrong = await startSmall(client, number);
		if (wrong === undefined) seen.times.push(performance.now() - began);
		else seen.errors.push(wrong);
		await sleep(PAUSE);
	}
	return seen;
}

/** The 99th percentile; NaN of nothing. */
export function p99(times: readonly number[]): number {
	return quantile(times, 0.99) ?? Number.NaN;
}
