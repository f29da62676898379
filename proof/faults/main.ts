/** Kills and stops each process of a node at each step of an invocation: docs/proof.md. */
import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { withNode } from "../../bench/node.ts";
import { progress } from "../../bench/progress.ts";
import { stopOnSignal, untilStopped } from "../../bench/stop.ts";
import { describe } from "../../src/cli/errors.ts";
import { type Cell, cells, ISOLATIONS, nameOf } from "./cells.ts";
import { deploySteps } from "./deploy.ts";
import { Gate } from "./gate.ts";
import { type FaultReport, print, report } from "./report.ts";
import { OBJECT_BYTES, type Result, runCell } from "./run.ts";

interface Options {
	only?: string;
	json?: true;
}

const options = new Command("faults")
	.description("kill -9 and SIGSTOP of every process at every step of an invocation")
	.option("--only <text>", "the cells whose name has this text")
	.option("--json", "print one JSON object")
	.parse()
	.opts<Options>();

async function faults(picked: (cell: string) => boolean): Promise<FaultReport> {
	const stop = stopOnSignal();
	const folder = await mkdtemp(join(tmpdir(), "hsf-"));
	const gate = await Gate.start();
	try {
		const object = randomBytes(OBJECT_BYTES);
		await mkdir(folder, { recursive: true });
		await writeFile(join(folder, "big"), object);
		const wanted = cells().filter((cell) => picked(nameOf(cell)));
		const results = new Map<Cell, Result>();
		const shown = progress(wanted.length);
		let whole = true;
		await withNode({ devStore: "plain", objects: { "inputs/big": join(folder, "big") } }, async (bench) => {
			for (const isolation of ISOLATIONS) await deploySteps(bench.client, isolation, gate);
			whole = await untilStopped(stop, wanted, async (cell) => {
				shown.step(nameOf(cell));
				const result = await runCell(bench, gate, cell, object);
				results.set(cell, result);
				if ("failure" in result.verdict) shown.note(`${nameOf(cell)}: ${result.verdict.failure}`);
				if (result.leaks.length > 0) shown.note(`${nameOf(cell)}: left ${JSON.stringify(result.leaks)}`);
			});
		});
		shown.done();
		return report(results, picked, whole);
	} finally {
		gate.close();
		stop.release();
		await rm(folder, { recursive: true, force: true });
	}
}

try {
	const made = await faults((cell) => cell.includes(options.only ?? ""));
	process.stdout.write(`${options.json ? JSON.stringify(made) : print(made)}\n`);
	if (made.interrupted) process.exitCode = 130;
	else if (made.failed + made.leaked > 0) process.exitCode = 1;
} catch (error) {
	process.stderr.write(`faults: ${describe(error)}\n`);
	process.exitCode = 1;
}
