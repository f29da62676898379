/** Measures what headstart promises: docs/benchmarks.md. */

import { Command, Option } from "commander";
import { describe } from "../src/cli/errors.ts";
import { benchFetch } from "./fetch.ts";
import { benchImgrec } from "./imgrec.ts";
import { FORMATS, type Format, ISOLATIONS, type Isolation } from "./imgrec-functions.ts";
import { count } from "./options.ts";
import { printFetch, printImgrec, printSplice } from "./report.ts";
import { benchSplice } from "./splice.ts";
import { type Stop, stopOnSignal } from "./stop.ts";

interface Common {
	runs: number;
	json?: true;
}

const program = new Command("bench").description("Measures cold starts and transfers (docs/benchmarks.md)");

program
	.command("imgrec")
	.description("Cold starts of image recognition, without and with its initscript")
	.addOption(new Option("--isolation <name>", "sandbox").choices(ISOLATIONS).default("gvisor"))
	.addOption(new Option("--format <name>", "the initscript's language").choices(FORMATS).default("c"))
	.option("--runs <n>", "starts of each arm", count, 10)
	.option("--json", "print one JSON object")
	.action((options: Common & { isolation: Isolation; format: Format }) =>
		measure(options, (stop) => benchImgrec({ ...options, stop }), printImgrec),
	);

program
	.command("fetch")
	.description("200 MB from a local store, by the bridge and by curl")
	.option("--runs <n>", "transfers of each", count, 10)
	.option("--json", "print one JSON object")
	.action((options: Common) => measure(options, (stop) => benchFetch({ ...options, stop }), printFetch));

program
	.command("splice")
	.description("A TCP connection, and the same carried to a socketpair by the bridge's splice")
	.option("--runs <n>", "runs of each", count, 10)
	.option("--json", "print one JSON object")
	.action((options: Common) => measure(options, (stop) => benchSplice({ ...options, stop }), printSplice));

async function measure<T>(
	{ json }: Common,
	bench: (stop: Stop) => Promise<T>,
	print: (report: T) => string,
): Promise<void> {
	const stop = stopOnSignal();
	try {
		const report = await bench(stop);
		process.stdout.write(`${json ? JSON.stringify(report) : print(report)}\n`);
	} catch (error) {
		process.stderr.write(`bench: ${describe(error)}\n`);
		process.exitCode = 1;
	} finally {
		if (stop.requested) process.exitCode = 130;
		stop.release();
	}
}

await program.parseAsync();
