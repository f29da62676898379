import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import type { NodeClient } from "../../src/cli/client.ts";
import { describe } from "../../src/cli/errors.ts";

/** What a neighbour tenant saw: how long its invocations took, ms, and what went wrong. */
export interface Neighbour {
	times: number[];
	errors: string[];
}

/** The neighbour's pause between two invocations, ms: it is not the one that loads the machine. */
const PAUSE = 20;

/** Invokes the small function cold, again and again, until `done` says so. */
export async function work(client: NodeClient, bytes: number, done: () => boolean): Promise<Neighbour> {
	const seen: Neighbour = { times: [], errors: [] };
	for (let number = 0; !done(); number++) {
		const began = performance.now();
		try {
			const answer = await client.send("/v1/functions/small/invocations?cold=1", {
				method: "POST",
				body: JSON.stringify({ number }),
				signal: AbortSignal.timeout(30_000),
			});
			const text = await answer.text();
			const right = JSON.stringify({ number, bytes });
			if (answer.status !== 200 || text.replaceAll(" ", "") !== right)
				seen.errors.push(`${answer.status}: ${text.slice(0, 200)}`);
			else seen.times.push(performance.now() - began);
		} catch (error) {
			seen.errors.push(describe(error));
		}
		await sleep(PAUSE);
	}
	return seen;
}

/** The 99th percentile, between the nearest ranks; NaN of nothing. */
export function p99(times: readonly number[]): number {
	const sorted = [...times].sort((a, b) => a - b);
	const at = (sorted.length - 1) * 0.99;
	const [low, high] = [sorted[Math.floor(at)], sorted[Math.ceil(at)]];
	if (low === undefined || high === undefined) return Number.NaN;
	return low + (high - low) * (at - Math.floor(at));
}
