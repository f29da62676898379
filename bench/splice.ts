import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { cargoEnv } from "../setup/steps/rust.ts";
import { inRoot, root } from "../src/cli/paths.ts";
import { progress } from "./progress.ts";
import type { SpliceReport } from "./report.ts";
import { alternate } from "./rounds.ts";
import { median, round } from "./stats.ts";
import { type Stop, untilStopped } from "./stop.ts";

const WAYS = ["direct", "spliced"] as const;
type Way = (typeof WAYS)[number];

/** Bytes of one transfer. */
const BYTES = 2 ** 30;
const LIMIT_MS = 60_000;

interface Sample {
	mb_s: number;
	rtt_us: number;
}

const run = promisify(execFile);

/** Measures a TCP connection and the same with the bridge's splice between. Throws when it was stopped before there was a sample of each. */
export async function benchSplice({ runs, stop }: { runs: number; stop: Stop }): Promise<SpliceReport> {
	const line = progress(WAYS.length * (runs + 1));
	const samples: Record<Way, Sample[]> = { direct: [], spliced: [] };
	try {
		line.note(`splice: ${BYTES / 2 ** 20} MiB, ${runs} runs each`);
		const built = ["build", "-q", "--locked", "--release", "-p", "headstart-splice", "--example", "measure"];
		await run("cargo", built, { cwd: root, env: cargoEnv });
		await untilStopped(stop, alternate(WAYS, runs), async ({ arm, round: number }) => {
			line.step(number === 0 ? `${arm}, warm-up` : `${arm}, run ${number}`);
			await line.quiet();
			const sample = await measure(arm);
			if (number > 0) samples[arm].push(sample);
		});
	} finally {
		line.done();
	}
	const direct = medians(samples.direct);
	const spliced = medians(samples.spliced);
	return {
		bytes: BYTES,
		direct_mb_s: round(direct.mb_s, 1),
		spliced_mb_s: round(spliced.mb_s, 1),
		ratio: round(spliced.mb_s / direct.mb_s, 3),
		direct_rtt_us: round(direct.rtt_us, 2),
		spliced_rtt_us: round(spliced.rtt_us, 2),
		added_us: round(spliced.rtt_us - direct.rtt_us, 2),
		runs: Math.min(samples.direct.length, samples.spliced.length),
		...(stop.requested ? { interrupted: true } : {}),
	};
}

async function measure(way: Way): Promise<Sample> {
	const program = inRoot("target/release/examples/measure");
	const { stdout } = await run(program, [way, String(BYTES)], { timeout: LIMIT_MS, killSignal: "SIGKILL" });
	const said: unknown = JSON.parse(stdout);
	if (isSample(said)) return said;
	throw new Error(`the measurement of ${way} printed ${stdout}`);
}

function isSample(said: unknown): said is Sample {
	if (typeof said !== "object" || said === null || !("mb_s" in said) || !("rtt_us" in said)) return false;
	return typeof said.mb_s === "number" && typeof said.rtt_us === "number";
}

function medians(samples: readonly Sample[]): Sample {
	const speed = median(samples.map((sample) => sample.mb_s));
	const trip = median(samples.map((sample) => sample.rtt_us));
	if (speed === undefined || trip === undefined) throw new Error("stopped before there was a sample of each");
	return { mb_s: speed, rtt_us: trip };
}
