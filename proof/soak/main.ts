/** Thousands of cold starts on one node, to see that nothing grows and nothing is left: docs/proof.md. */

import { Command } from "commander";
import { type BenchNode, cpuSeconds, withNode } from "../../bench/node.ts";
import { count } from "../../bench/options.ts";
import { progress } from "../../bench/progress.ts";
import { round } from "../../bench/stats.ts";
import { type Stop, stopOnSignal } from "../../bench/stop.ts";
import { deploy } from "../../src/cli/deploy/deploy.ts";
import { leaksAfter } from "../../src/cli/doctor/leaks.ts";
import { describe } from "../../src/cli/errors.ts";
import { inRoot } from "../../src/cli/paths.ts";
import { SMALL_BYTES, startSmall } from "../small.ts";
import { type Usage, usage } from "./usage.ts";

/** What `npm run -s soak -- --json` prints. */
interface SoakReport {
	starts: number;
	errors: number;
	/** What was left when all instances were reaped. */
	leaked: number;
	starts_per_s: number;
	/** Without the shared memory of segments. */
	rss_mb: Record<keyof Usage["rss"], { start: number; end: number }>;
	fds: { start: number; end: number };
	/** CPU of the runner. */
	initscript_cpu_ms_per_start: number;
	/** The first errors, in words. */
	samples: string[];
	interrupted?: true;
}

/** Starts before the first reading: caches and pools are full then. */
const WARM_UP = 100;
const SAMPLES = 5;
/** How long the last instances may take to be reaped, ms. */
const REAPED = 15_000;

interface Options {
	starts: number;
	clients: number;
	json?: true;
}

const options = new Command("soak")
	.description("Cold starts by the thousand: errors, leaks, growth")
	.option("--starts <n>", "cold starts", count, 1000)
	.option("--clients <n>", "how many at one time", count, 2)
	.option("--json", "print one JSON object")
	.parse()
	.opts<Options>();

interface Tally {
	done: number;
	errors: number;
	samples: string[];
}

/** Makes `starts` cold starts from `clients` loops, or fewer when a stop is requested. */
async function start(
	bench: BenchNode,
	starts: number,
	stop: Stop,
	each: (done: number) => void,
): Promise<Tally> {
	const tally: Tally = { done: 0, errors: 0, samples: [] };
	let next = 0;
	const client = async (): Promise<void> => {
		while (next < starts && !stop.requested) {
			const number = next++;
			const wrong = await startSmall(bench.client, number);
			if (wrong !== undefined) {
				tally.errors++;
				if (tally.samples.length < SAMPLES) tally.samples.push(wrong);
			}
			each(++tally.done);
		}
	};
	await Promise.all(Array.from({ length: options.clients }, client));
	return tally;
}

async function soak(bench: BenchNode, stop: Stop): Promise<SoakReport> {
	await deploy(inRoot("proof/functions/small"), bench.client);
	const shown = progress(options.starts + WARM_UP);
	await start(bench, WARM_UP, stop, () => shown.step("warm-up"));
	const before = await usage(bench);
	const cpu = cpuSeconds(bench).runner;
	const began = Date.now();
	const tally = await start(bench, options.starts, stop, () => shown.step("start"));
	const seconds = (Date.now() - began) / 1000;
	const runnerSeconds = cpuSeconds(bench).runner - cpu;
	const { length: leaked } = await leaksAfter(bench.node.run, bench.node.state, REAPED);
	const after = await usage(bench);
	shown.done();
	const both = (what: keyof Usage["rss"]): { start: number; end: number } => ({
		start: round(before.rss[what], 1),
		end: round(after.rss[what], 1),
	});
	return {
		starts: tally.done,
		errors: tally.errors,
		leaked,
		starts_per_s: round(tally.done / seconds, 2),
		rss_mb: { host: both("host"), runner: both("runner"), bridge: both("bridge") },
		fds: { start: before.fds, end: after.fds },
		initscript_cpu_ms_per_start: round((runnerSeconds * 1000) / Math.max(1, tally.done), 3),
		samples: tally.samples,
		...(stop.requested ? { interrupted: true as const } : {}),
	};
}

function print(report: SoakReport): string {
	const { host, runner, bridge } = report.rss_mb;
	const growth = ({ start, end }: { start: number; end: number }): string => `${start} → ${end} MB`;
	return [
		`${report.starts} cold starts, ${report.starts_per_s} a second: ${report.errors} errors, ${report.leaked} leaks`,
		`memory: host ${growth(host)}, runner ${growth(runner)}, bridge ${growth(bridge)}; file descriptors ${report.fds.start} → ${report.fds.end}`,
		`the initscript: ${report.initscript_cpu_ms_per_start} ms of CPU a start`,
		...report.samples.map((sample) => `  ${sample}`),
	].join("\n");
}

const stop = stopOnSignal();
try {
	const report = await withNode({ devStore: "plain", objects: { "inputs/small": SMALL_BYTES } }, (bench) =>
		soak(bench, stop),
	);
	process.stdout.write(`${options.json ? JSON.stringify(report) : print(report)}\n`);
	if (report.errors + report.leaked > 0) process.exitCode = 1;
} catch (error) {
	process.stderr.write(`soak: ${describe(error)}\n`);
	process.exitCode = 1;
} finally {
	if (stop.requested) process.exitCode = 130;
	stop.release();
}
