import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { addCounts, type Counts, countsIn } from "./counts.ts";
import { root } from "./stamp.ts";
import { cargoEnv } from "./steps/rust.ts";

/** A set of tests with a command of its own. */
interface Suite {
	name: string;
	program: string;
	args: string[];
	env?: NodeJS.ProcessEnv;
}

const vitest = (name: string, ...args: string[]): Suite => ({
	name,
	program: process.execPath,
	args: ["node_modules/vitest/vitest.mjs", "run", ...args],
});

const suites: Suite[] = [
	vitest("unit"),
	{ name: "rust", program: "cargo", args: ["test", "--workspace", "--locked"], env: cargoEnv },
	{
		name: "python",
		program: "/usr/bin/python3",
		args: ["-m", "unittest", "discover", "-s", "clients/python/tests", "-t", "clients/python"],
	},
	vitest("end to end", "--config", "test/vitest.config.ts"),
];

/** Tests, and nothing but tests, end this process: with 0 when all pass. `only`: names of suites. */
export async function testAll(only: readonly string[]): Promise<number> {
	let failed = false;
	let total: Counts = { passed: 0, failed: 0 };
	for (const suite of suites) {
		if (only.length > 0 && !only.includes(suite.name)) continue;
		process.stdout.write(`\n── ${suite.name}\n`);
		const { status, counts } = await runSuite(suite);
		// A suite that breaks without a failed test counts as one.
		if (status !== 0 && counts.failed === 0) counts.failed = 1;
		failed ||= status !== 0;
		total = addCounts(total, counts);
	}
	process.stdout.write(`\n${total.passed} passed, ${total.failed} failed\n`);
	return failed || total.failed > 0 ? 1 : 0;
}

async function runSuite({
	program,
	args,
	env = process.env,
}: Suite): Promise<{ status: number; counts: Counts }> {
	const child = spawn(program, args, { cwd: root, env, stdio: ["ignore", "pipe", "pipe"] });
	let counts: Counts = { passed: 0, failed: 0 };
	for (const [output, to] of [
		[child.stdout, process.stdout],
		[child.stderr, process.stderr],
	] as const) {
		createInterface(output).on("line", (line) => {
			to.write(`${line}\n`);
			counts = addCounts(counts, countsIn(line));
		});
	}
	try {
		const [status] = await once(child, "close");
		return { status: typeof status === "number" ? status : 1, counts };
	} catch (error) {
		process.stderr.write(`${program} cannot be run: ${error instanceof Error ? error.message : error}\n`);
		return { status: 1, counts };
	}
}
