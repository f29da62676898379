/** Starts of initscripts by the thousand, in turn TypeScript and WASM, without applications: whether runner, host or bridge grow. */

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Command } from "commander";
import type { TomlTable } from "smol-toml";
import { type BenchNode, withNode } from "../../bench/node.ts";
import { count } from "../../bench/options.ts";
import { merged, staged } from "../../bench/stage.ts";
import { round } from "../../bench/stats.ts";
import { stopOnSignal } from "../../bench/stop.ts";
import { deploy } from "../../src/cli/deploy/deploy.ts";
import { inRoot } from "../../src/cli/paths.ts";
import { runners } from "../../test/harness/processes.ts";
import { SMALL_BYTES } from "../small.ts";
import { usage } from "./usage.ts";

/** Readings in all. */
const READINGS = 10;
/** How long the last instances may take to be reaped before a reading, ms. */
const SETTLED = 1_000;

/** The same as proof/functions/small's initscript.c. */
const SCRIPT = `import { connect, expect, s3Get } from "headstart";
export default async function main(): Promise<void> {
	expect(1);
	s3Get(connect("s3://inputs"), "small");
}
`;

const options = new Command("scripts")
	.description("Starts of initscripts by the thousand: growth")
	.option("--starts <n>", "starts", count, 10_000)
	.option("--clients <n>", "how many at one time", count, 4)
	.parse()
	.opts<{ starts: number; clients: number }>();

/** proof/functions/small with its initscript in C, and another with it in TypeScript. */
async function deployBoth(bench: BenchNode): Promise<void> {
	const small = inRoot("proof/functions/small");
	await deploy(small, bench.client);
	const typed = (manifest: TomlTable): TomlTable =>
		merged({ ...manifest, name: "typed" }, "initscript", { main: "initscript.ts" });
	await staged(small, typed, async (folder) => {
		await writeFile(join(folder, "initscript.ts"), SCRIPT);
		await deploy(folder, bench.client);
	});
}

const stop = stopOnSignal();

async function start(bench: BenchNode, starts: number): Promise<number> {
	let next = 0;
	let errors = 0;
	const client = async (): Promise<void> => {
		while (next < starts && !stop.requested) {
			const name = next++ % 2 === 0 ? "typed" : "small";
			const answer = await bench.client.send(`/v1/functions/${name}/invocations?only=initscript`, {
				method: "POST",
				body: "{}",
			});
			const run = (await answer.json()) as { end?: string; bytes?: number };
			if (run.end !== "exit 0" || run.bytes !== SMALL_BYTES) {
				errors += 1;
				if (errors < 5) process.stderr.write(`${JSON.stringify(run)}\n`);
			}
		}
	};
	await Promise.all(Array.from({ length: options.clients }, client));
	return errors;
}

async function reading(bench: BenchNode, starts: number): Promise<void> {
	await new Promise((resolve) => setTimeout(resolve, SETTLED));
	const { rss, fds } = await usage(bench);
	const [pid] = await runners(bench.node.run);
	const { host, runner, bridge } = rss;
	process.stdout.write(
		`${starts} starts: host ${round(host, 1)}, runner ${round(runner, 1)} (process ${pid}), bridge ${round(bridge, 1)} MB, ${fds} descriptors\n`,
	);
}

await withNode({ devStore: "plain", objects: { "inputs/small": SMALL_BYTES } }, async (bench) => {
	await deployBoth(bench);
	let errors = 0;
	await reading(bench, 0);
	for (let number = 1; number <= READINGS && !stop.requested; number++) {
		errors += await start(bench, Math.ceil(options.starts / READINGS));
		await reading(bench, number * Math.ceil(options.starts / READINGS));
	}
	process.stdout.write(`${errors} errors\n`);
	if (errors > 0) process.exitCode = 1;
});
if (stop.requested) process.exitCode = 130;
stop.release();
