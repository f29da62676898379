import { stat } from "node:fs/promises";
import { join } from "node:path";
import { built } from "../src/cli/paths.ts";
import type { TraceEvent } from "../src/shared/record.ts";
import { figures, roundEfficiencies } from "./efficiency.ts";
import {
	deployImgrec,
	deployRecv,
	deploySetupOnly,
	EVENT,
	type Format,
	type Isolation,
	LABELS,
	MODEL,
	objects,
	PHOTO,
} from "./imgrec-functions.ts";
import type { Start } from "./invoke.ts";
import { type BenchNode, type CpuSeconds, cpuBetween, cpuSeconds, withNode } from "./node.ts";
import { standAside } from "./priority.ts";
import { type Progress, progress } from "./progress.ts";
import { ARMS, type Arm, type ImgrecReport, range, roundFigures, startTimes, tail } from "./report.ts";
import { alternate } from "./rounds.ts";
import { median, round } from "./stats.ts";
import { type Stop, untilStopped } from "./stop.ts";
import { countGets, type Gets, resetStore, storeRequests } from "./store.ts";
import { appCalls, fetchMs, firstRpcMs, loadMs, startMs } from "./timeline.ts";

export interface ImgrecOptions {
	isolation: Isolation;
	format: Format;
	runs: number;
	stop: Stop;
}

/** Starts of an initscript alone, for the idle figure. */
const IDLE_STARTS = 40;
/** Starts before those, which make the node warm. */
const IDLE_WARM_UP = 5;
/** What the link of profile "s3" does. */
const LINK = { profile: "s3", first_byte_ms: 25, mb_s: 69.5 };

/** Measures, on two nodes one after the other. Throws when it was stopped before there was a sample of each arm. */
export async function benchImgrec(options: ImgrecOptions): Promise<ImgrecReport> {
	const line = progress(ARMS.length * (options.runs + 1) + IDLE_WARM_UP + IDLE_STARTS + options.runs + 1);
	try {
		line.note(`imgrec: ${options.isolation}, ${options.format}, ${options.runs} runs; starting a node`);
		const shaped = await withNode({ devStore: "s3", objects: objects() }, (bench) =>
			measureArms(bench, options, line),
		);
		const small = options.stop.requested
			? emptySmall()
			: await withNode({ devStore: "plain", objects: objects() }, (bench) =>
					measureSmall(bench, options, line),
				);
		return await report(options, shaped, small);
	} finally {
		line.done();
	}
}

interface Shaped {
	starts: Record<Arm, number[]>;
	load: number[];
	duringBoot: number[];
	gets: Record<"without" | "with", Gets[]>;
	cpu: CpuSeconds;
	label: string;
	scriptBytes: number;
}

async function measureArms(bench: BenchNode, options: ImgrecOptions, line: Progress): Promise<Shaped> {
	const { store, link } = bench.store;
	for (const pid of [store.pid, link?.pid]) if (pid !== undefined) await standAside(pid);
	const { initscript } = await deployImgrec(bench, options.isolation, options.format);
	await deploySetupOnly(bench, options.isolation);
	const shaped: Shaped = {
		starts: { without: [], with: [], setup_only: [], fetch_only: [] },
		load: [],
		duringBoot: [],
		gets: { without: [], with: [] },
		cpu: cpuSeconds(bench),
		label: "",
		scriptBytes: initscript?.bytes ?? 0,
	};
	const before = shaped.cpu;
	await untilStopped(options.stop, alternate(ARMS, options.runs), async ({ arm, round }) => {
		line.step(round === 0 ? `${arm}, warm-up` : `${arm}, run ${round}`);
		await line.quiet();
		await resetStore(bench.store.admin);
		const start = await startArm(bench, arm);
		if (arm === "without" || arm === "with") shaped.label = checkLabel(start);
		if (round > 0) await keep(bench, shaped, arm, start.events);
		shaped.cpu = cpuBetween(before, cpuSeconds(bench));
	});
	return shaped;
}

function startArm({ invoker }: BenchNode, arm: Arm): Promise<Start> {
	switch (arm) {
		case "without":
			return invoker.start("imgrec", EVENT, { direct: true });
		case "with":
			return invoker.start("imgrec", EVENT);
		case "setup_only":
			return invoker.start("imgrec-setup", EVENT);
		case "fetch_only":
			return invoker.start("imgrec", EVENT, { scriptOnly: true });
	}
}

async function keep(bench: BenchNode, shaped: Shaped, arm: Arm, events: TraceEvent[]): Promise<void> {
	shaped.starts[arm].push(arm === "fetch_only" ? fetchMs(events) : startMs(events));
	if (arm !== "without" && arm !== "with") return;
	const gets = countGets(await storeRequests(bench.store.admin));
	const called = appCalls(events);
	shaped.gets[arm].push({ ...gets, byApp: gets.byApp + called, byBridge: gets.byBridge - called });
	if (arm === "with") {
		shaped.load.push(loadMs(events));
		shaped.duringBoot.push(firstRpcMs(events));
	}
}

function checkLabel({ instance, answer }: Start): string {
	const label = typeof answer === "object" && answer !== null && "label" in answer ? answer.label : undefined;
	if (typeof label !== "string" || !LABELS.includes(label)) {
		throw new Error(`instance ${instance} took the photo of a cat for ${JSON.stringify(answer)}`);
	}
	return label;
}

interface Small {
	idle: number[];
	recv: number[];
	recvBytes: number;
	firstRead: number[];
}

function emptySmall(): Small {
	return { idle: [], recv: [], recvBytes: 0, firstRead: [] };
}

/** The figures that the plain store is used for. */
async function measureSmall(bench: BenchNode, options: ImgrecOptions, line: Progress): Promise<Small> {
	const small = emptySmall();
	await deployImgrec(bench, options.isolation, options.format);
	await deployRecv(bench, options.isolation);
	const idle = Array.from({ length: IDLE_WARM_UP + IDLE_STARTS }, (_, index) => index);
	await untilStopped(options.stop, idle, async (index) => {
		line.step(`initscript alone, ${index}`);
		await line.quiet();
		const { events } = await bench.invoker.start("imgrec", EVENT, { scriptOnly: true });
		if (index >= IDLE_WARM_UP) small.idle.push(firstRpcMs(events));
	});
	const receipts = Array.from({ length: options.runs + 1 }, (_, index) => index);
	await untilStopped(options.stop, receipts, async (index) => {
		line.step(`recv_msg, ${index}`);
		await line.quiet();
		const { answer } = await bench.invoker.start("bench-recv", {});
		const { bytes, recv_ms, first_read_ms } = answer as Record<"bytes" | "recv_ms" | "first_read_ms", number>;
		if (index > 0) {
			small.recv.push(recv_ms);
			small.firstRead.push(first_read_ms);
			small.recvBytes = bytes;
		}
	});
	return small;
}

async function report(options: ImgrecOptions, shaped: Shaped, small: Small): Promise<ImgrecReport> {
	const { starts, gets } = shaped;
	const middle = (samples: readonly number[], what: string): number => {
		const value = median(samples);
		if (value === undefined)
			throw new Error(`stopped before there was a sample of ${what}: nothing to report`);
		return value;
	};
	const load = middle(shaped.load, "load");
	const { invalid, ...computed } = roundFigures(
		figures({
			without: middle(starts.without, "without"),
			with: middle(starts.with, "with"),
			setupOnly: middle(starts.setup_only, "setup_only"),
			fetchOnly: middle(starts.fetch_only, "fetch_only"),
			load,
		}),
	);
	const recv = tail(small.recv);
	const firstRead = median(small.firstRead);
	return {
		workload: "imgrec",
		isolation: options.isolation,
		format: options.format,
		runs: Math.min(...ARMS.map((arm) => starts[arm].length)),
		...(options.stop.requested ? { interrupted: true } : {}),
		...(invalid === undefined ? {} : { invalid }),
		link: LINK,
		bytes: { model: await assetBytes(MODEL), image: await assetBytes(PHOTO) },
		page_cache: "warm",
		label: shaped.label,
		arms: {
			without: startTimes(starts.without),
			with: startTimes(starts.with),
			setup_only: startTimes(starts.setup_only),
			fetch_only: startTimes(starts.fetch_only),
		},
		load_ms: round(load, 2),
		...computed,
		efficiency_rounds: range(
			roundEfficiencies({
				without: starts.without,
				with: starts.with,
				setupOnly: starts.setup_only,
				fetchOnly: starts.fetch_only,
				load: shaped.load,
			}),
		),
		initscript: {
			bytes: shaped.scriptBytes,
			spawn_to_first_rpc_ms: { idle: tail(small.idle), during_boot: tail(shaped.duringBoot) },
		},
		recv_msg_ms: recv && { ...recv, bytes: small.recvBytes },
		first_read_ms: firstRead === undefined ? null : round(firstRead, 3),
		store_requests: {
			without: mean(gets.without.map(({ byApp, byBridge }) => byApp + byBridge)),
			with_by_app: mean(gets.with.map(({ byApp }) => byApp)),
			with_by_initscript: mean(gets.with.map(({ byBridge }) => byBridge)),
			with_max_per_key: Math.max(0, ...gets.with.map(({ perKey }) => perKey)),
		},
		cpu_s: shaped.cpu,
	};
}

async function assetBytes(object: string): Promise<number> {
	return (await stat(join(built, "assets", object))).size;
}

function mean(values: readonly number[]): number {
	return values.length === 0 ? 0 : round(values.reduce((sum, value) => sum + value, 0) / values.length, 3);
}
