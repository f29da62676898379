import { expect, it } from "vitest";
import {
	type ImgrecReport,
	printFetch,
	printImgrec,
	range,
	roundFigures,
	startTimes,
	tail,
} from "./report.ts";

const report: ImgrecReport = {
	workload: "imgrec",
	isolation: "gvisor",
	format: "c",
	runs: 2,
	link: { profile: "s3", first_byte_ms: 25, mb_s: 69.5 },
	bytes: { model: 13_300_000, image: 4_900_000 },
	page_cache: "warm",
	label: "tabby cat",
	arms: {
		without: startTimes([900, 910]),
		with: startTimes([500, 510]),
		setup_only: startTimes([450, 460]),
		fetch_only: startTimes([320, 321.234]),
	},
	load_ms: 40,
	speedup: 1.79,
	ideal_ms: 495,
	efficiency: 0.97,
	efficiency_rounds: range([0.96, 0.97, 0.99]),
	initscript: { bytes: 700, spawn_to_first_rpc_ms: { idle: tail([1, 2]), during_boot: null } },
	recv_msg_ms: { p50: 0.1, p95: 0.2, bytes: 13_300_000 },
	first_read_ms: 1.4,
	store_requests: { without: 2, with_by_app: 0, with_by_initscript: 2, with_max_per_key: 1 },
	cpu_s: { store: 1, link: 2, bridge: 3, host: 4, runner: 5 },
};

it("keeps every sample, to a hundredth", () => {
	expect(report.arms.fetch_only).toEqual({
		start_ms: { p50: 320.62, min: 320, max: 321.23, samples: [320, 321.23] },
	});
	expect(() => startTimes([])).toThrow("no sample");
	expect(tail([])).toBeNull();
});

it("carries the reason of an invalid run", () => {
	const figures = { speedup: 2, idealMs: 100, efficiency: 1.1, invalid: "why" };
	expect(roundFigures(figures)).toEqual({ speedup: 2, ideal_ms: 100, efficiency: 1.1, invalid: "why" });
	expect(printImgrec({ ...report, invalid: "why" })).toContain("INVALID: why");
});

it("prints for people", () => {
	const text = printImgrec({ ...report, interrupted: true });
	expect(text).toContain("2 runs (interrupted); label: tabby cat");
	expect(text).toMatch(/without +905\.00 +900\.00 +910\.00/);
	expect(text).toMatch(/each round \(p50, min … max\) +0\.970, 0\.960 … 0\.990/);
	expect(range([])).toBeNull();
	expect(text).toMatch(/during boot \(p50 \/ p95\) +–/);
	expect(
		printFetch({
			bytes: 2e8,
			bridge_mb_s: 3300,
			curl_mb_s: 3500,
			ratio: 0.943,
			prefault_cpu_ms: 110,
			runs: 5,
		}),
	).toMatch(/bridge ÷ curl +0\.943/);
});
