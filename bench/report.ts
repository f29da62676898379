import type { Figures } from "./efficiency.ts";
import { round, type Spread, spread } from "./stats.ts";
import { table } from "./table.ts";

export const ARMS = ["without", "with", "setup_only", "fetch_only"] as const;
export type Arm = (typeof ARMS)[number];

export interface StartTimes {
	start_ms: { p50: number; min: number; max: number; samples: number[] };
}

/** What `bench imgrec --json` prints. Times in the unit of their name; sizes in bytes. */
export interface ImgrecReport {
	workload: "imgrec";
	isolation: string;
	format: string;
	/** Rounds that are complete: each has a sample of every arm. */
	runs: number;
	/** Set when the run was stopped before its end. */
	interrupted?: true;
	/** Why the efficiency is not to be believed, when it is not. */
	invalid?: string;
	link: { profile: string; first_byte_ms: number; mb_s: number };
	bytes: { model: number; image: number };
	page_cache: "warm";
	label: string;
	arms: Record<Arm, StartTimes>;
	load_ms: number;
	speedup: number;
	ideal_ms: number;
	efficiency: number;
	/** Of each round by itself. */
	efficiency_rounds: Range | null;
	initscript: {
		bytes: number;
		spawn_to_first_rpc_ms: { idle: Tail | null; during_boot: Tail | null };
	};
	recv_msg_ms: (Tail & { bytes: number }) | null;
	first_read_ms: number | null;
	store_requests: {
		/** GETs of one start, by whoever made them (means over the run). */
		without: number;
		with_by_app: number;
		with_by_initscript: number;
		/** The most GETs of one key in one start with the initscript. */
		with_max_per_key: number;
	};
	cpu_s: Record<"store" | "link" | "bridge" | "host" | "runner", number>;
}

export interface Range {
	p50: number;
	min: number;
	max: number;
}

export interface Tail {
	p50: number;
	p95: number;
}

/** What `bench fetch --json` prints. */
export interface FetchReport {
	bytes: number;
	bridge_mb_s: number;
	curl_mb_s: number;
	/** Bridge ÷ curl. */
	ratio: number;
	prefault_cpu_ms: number;
	runs: number;
	interrupted?: true;
}

/** What `bench splice --json` prints. */
export interface SpliceReport {
	bytes: number;
	direct_mb_s: number;
	spliced_mb_s: number;
	/** Spliced ÷ direct. */
	ratio: number;
	direct_rtt_us: number;
	spliced_rtt_us: number;
	/** Spliced − direct. */
	added_us: number;
	runs: number;
	interrupted?: true;
}

/** The start times of an arm. At least one sample. */
export function startTimes(samples: readonly number[]): StartTimes {
	const { p50, min, max } = some(samples);
	return {
		start_ms: {
			p50: round(p50, 2),
			min: round(min, 2),
			max: round(max, 2),
			samples: samples.map((sample) => round(sample, 2)),
		},
	};
}

/** p50 and p95, or null where nothing was measured. */
export function tail(samples: readonly number[]): Tail | null {
	const all = spread(samples);
	return all === undefined ? null : { p50: round(all.p50, 3), p95: round(all.p95, 3) };
}

/** Median, least and most, or null where nothing was measured. */
export function range(samples: readonly number[]): Range | null {
	const all = spread(samples);
	return all === undefined
		? null
		: { p50: round(all.p50, 4), min: round(all.min, 4), max: round(all.max, 4) };
}

export function roundFigures(figures: Figures): {
	speedup: number;
	ideal_ms: number;
	efficiency: number;
	invalid?: string;
} {
	return {
		speedup: round(figures.speedup, 3),
		ideal_ms: round(figures.idealMs, 2),
		efficiency: round(figures.efficiency, 4),
		...(figures.invalid === undefined ? {} : { invalid: figures.invalid }),
	};
}

function some(samples: readonly number[]): Spread {
	const all = spread(samples);
	if (all === undefined) throw new Error("no sample");
	return all;
}

/** The imgrec report for people. */
export function printImgrec(report: ImgrecReport): string {
	const { initscript, store_requests: requests, cpu_s: cpu } = report;
	const ms = (value: number | undefined | null): string =>
		value === undefined || value === null ? "–" : value.toFixed(2);
	const both = (value: Tail | null): string =>
		value === null ? "–" : `${ms(value.p50)} / ${ms(value.p95)} ms`;
	const each = report.efficiency_rounds;
	const rounds =
		each === null ? "–" : `${each.p50.toFixed(3)}, ${each.min.toFixed(3)} … ${each.max.toFixed(3)}`;
	const starts = table([
		["start, ms", "p50", "min", "max"],
		...ARMS.map((arm) => {
			const { p50, min, max } = report.arms[arm].start_ms;
			return [arm, ms(p50), ms(min), ms(max)];
		}),
	]);
	const facts = table([
		["figure", "value"],
		["speedup", `${report.speedup.toFixed(2)} ×`],
		["efficiency", report.efficiency.toFixed(3)],
		["efficiency of each round (p50, min … max)", rounds],
		["ideal", `${ms(report.ideal_ms)} ms`],
		["load", `${ms(report.load_ms)} ms`],
		["spawn → first RPC, idle (p50 / p95)", both(initscript.spawn_to_first_rpc_ms.idle)],
		["spawn → first RPC, during boot (p50 / p95)", both(initscript.spawn_to_first_rpc_ms.during_boot)],
		["recv_msg (p50 / p95)", both(report.recv_msg_ms)],
		["first read of it", `${ms(report.first_read_ms)} ms`],
		["initscript", `${initscript.bytes} bytes`],
		["GETs: without", `${requests.without}`],
		["GETs: with, by the app / the initscript", `${requests.with_by_app} / ${requests.with_by_initscript}`],
		...Object.entries(cpu).map(([name, seconds]) => [`CPU: ${name}`, `${seconds.toFixed(2)} s`]),
	]);
	const { link, bytes } = report;
	return [
		`imgrec, ${report.isolation}, initscript in ${report.format}, ${report.runs} runs${report.interrupted ? " (interrupted)" : ""}; label: ${report.label}`,
		`link ${link.profile}: ${link.first_byte_ms} ms to the first byte, ${link.mb_s} MB/s a connection; model ${bytes.model} B, image ${bytes.image} B; page cache ${report.page_cache}`,
		"",
		starts,
		"",
		facts,
		...(report.invalid === undefined ? [] : ["", `INVALID: ${report.invalid}`]),
	].join("\n");
}

/** The fetch report for people. */
export function printFetch(report: FetchReport): string {
	return table([
		[`${report.bytes / 1e6} MB, ${report.runs} runs each`, "MB/s"],
		["bridge", report.bridge_mb_s.toFixed(0)],
		["curl", report.curl_mb_s.toFixed(0)],
		["bridge ÷ curl", report.ratio.toFixed(3)],
		["prefaulting, CPU ms", report.prefault_cpu_ms.toFixed(1)],
	]);
}

/** The splice report for people. */
export function printSplice(report: SpliceReport): string {
	return table([
		[`${report.bytes / 2 ** 20} MiB, ${report.runs} runs each`, "MB/s", "round trip, µs"],
		["direct", report.direct_mb_s.toFixed(0), report.direct_rtt_us.toFixed(1)],
		["spliced", report.spliced_mb_s.toFixed(0), report.spliced_rtt_us.toFixed(1)],
		["÷ / added", report.ratio.toFixed(3), report.added_us.toFixed(1)],
	]);
}
