/** Measures what headstart promises: docs/benchmarks.md. */

import { readFile } from "node:fs/promises";
import { Command, Option } from "commander";
import { describe } from "../src/cli/errors.ts";
import { printBinary } from "./binary/print.ts";
import { table4, table5 } from "./binary/tables.ts";
import { type Evaluation, evaluate } from "./evaluation/evaluate.ts";
import { printEvaluation } from "./evaluation/print.ts";
import { benchFetch } from "./fetch.ts";
import { benchImgrec } from "./imgrec.ts";
import { FORMATS, type Format, ISOLATIONS, type Isolation } from "./imgrec-functions.ts";
import { count } from "./options.ts";
import { writeReport } from "./plots/write.ts";
import { printFetch, printImgrec, printSplice } from "./report.ts";
import { benchSplice } from "./splice.ts";
import { type Stop, stopOnSignal } from "./stop.ts";
import { WORKLOADS, workloadsOf } from "./workloads/index.ts";
import { FIGURES, type Workload } from "./workloads/workload.ts";

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

const say = (text: string): void => void process.stderr.write(`${text}\n`);

interface EvaluationFlags extends Common {
	isolation: Isolation;
	only: string[];
	quiet: boolean;
	out?: string;
}

/** A verb of the paper's evaluation: docs/evaluation.md. */
function evaluation(name: string, about: string, workloads: readonly Workload[], withTables = false): void {
	program
		.command(name)
		.description(about)
		.addOption(new Option("--isolation <name>", "sandbox").choices(ISOLATIONS).default("gvisor"))
		.option("--runs <n>", "starts of each arm", count, 5)
		.option("--only <name...>", "of these workloads", [])
		.option("--no-quiet", "do not wait until the machine is quiet before each start")
		.option("--json", "print one JSON object")
		.option("--out <folder>", "also write an HTML report with plots into it")
		.action((options: EvaluationFlags) => {
			const wanted = workloads.filter(
				(workload) => options.only.length === 0 || options.only.includes(workload.name),
			);
			return measure(
				options,
				async (stop) => {
					const evaluation = await evaluate(wanted, { ...options, stop });
					if (withTables && !stop.requested) evaluation.tables = [await table4(say), await table5()];
					if (options.out !== undefined) await writeReport(options.out, evaluation);
					return evaluation;
				},
				printEvaluation,
			);
		});
}

for (const figure of FIGURES) {
	evaluation(figure, `The paper's ${figure.replace("fig", "Figure ")}`, workloadsOf(figure));
}
for (const [name, of] of [
	["table4", table4],
	["table5", table5],
] as const) {
	program
		.command(name)
		.description(`The paper's ${name.replace("table", "Table ")}: sizes of binaries`)
		.option("--json", "print one JSON object")
		.action((options: { json?: true }) => measure(options, () => of(say), printBinary));
}
evaluation("initscript", "Starts and sizes of initscripts", workloadsOf("initscript"));
program
	.command("report")
	.description("Draws the report of results that were written before")
	.argument("<results>", "a file that --json printed")
	.requiredOption("--out <folder>", "where it is written")
	.action(async (results: string, { out }: { out: string }) =>
		writeReport(out, JSON.parse(await readFile(results, "utf8")) as Evaluation),
	);

evaluation("all", "All of the paper's evaluation", WORKLOADS, true);

async function measure<T>(
	{ json }: Pick<Common, "json">,
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
