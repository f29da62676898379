import { deploy } from "../src/cli/deploy/deploy.ts";
import { inRoot } from "../src/cli/paths.ts";
import { curlGet } from "./curl.ts";
import { withNode } from "./node.ts";
import { prefaultCpuMs } from "./prefault.ts";
import { progress } from "./progress.ts";
import type { FetchReport } from "./report.ts";
import { alternate } from "./rounds.ts";
import { median, round } from "./stats.ts";
import { type Stop, untilStopped } from "./stop.ts";
import { transfer } from "./timeline.ts";

const BYTES = 200_000_000;
/** The pool keeps a segment for the object ready, as for any size that a node's functions fetch often. */
const MEMORY = { pool: [{ bytes: BYTES, count: 1 }], node_bytes: 2 ** 30 };

/** Measures both ways of fetching alternately. Throws when it was stopped before there was a sample of each. */
export async function benchFetch({ runs, stop }: { runs: number; stop: Stop }): Promise<FetchReport> {
	const ways = ["bridge", "curl"] as const;
	const line = progress(ways.length * (runs + 1));
	const speeds: Record<(typeof ways)[number], number[]> = { bridge: [], curl: [] };
	try {
		line.note(`fetch: ${BYTES / 1e6} MB, ${runs} runs each; starting a node`);
		await withNode(
			{ devStore: "plain", objects: { "bench/fetch": BYTES }, memory: MEMORY },
			async (bench) => {
				await deploy(inRoot("bench/functions/fetch"), bench.client);
				const fetches = {
					bridge: async () =>
						transfer((await bench.invoker.start("bench-fetch", {}, { scriptOnly: true })).events),
					curl: () => curlGet({ ...bench.store, endpoint: bench.store.direct }, "bench/fetch"),
				};
				await untilStopped(stop, alternate(ways, runs), async ({ arm, round }) => {
					line.step(round === 0 ? `${arm}, warm-up` : `${arm}, run ${round}`);
					await line.quiet();
					const { bytes, seconds } = await fetches[arm]();
					if (bytes !== BYTES) throw new Error(`${arm} fetched ${bytes} bytes instead of ${BYTES}`);
					if (round > 0) speeds[arm].push(bytes / 1e6 / seconds);
				});
			},
		);
	} finally {
		line.done();
	}
	const bridge = median(speeds.bridge);
	const curl = median(speeds.curl);
	if (bridge === undefined || curl === undefined)
		throw new Error("stopped before there was a sample of each");
	return {
		bytes: BYTES,
		bridge_mb_s: round(bridge, 1),
		curl_mb_s: round(curl, 1),
		ratio: round(bridge / curl, 3),
		prefault_cpu_ms: round(await prefaultCpuMs(BYTES), 1),
		runs: Math.min(speeds.bridge.length, speeds.curl.length),
		...(stop.requested ? { interrupted: true } : {}),
	};
}
