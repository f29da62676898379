import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { addCounts, type Counts, countsIn } from "./counts.ts";
import { root } from "./stamp.ts";
import { SetupError } from "./step.ts";
import { cargoEnv } from "./steps/rust.ts";

/** A set of tests with a command of its own. */
export interface Suite {
	name: string;
	/** About how long it takes on two cores. */
	minutes: number;
	program: string;
	args: string[];
	env?: NodeJS.ProcessEnv;
	/** Whether it needs what only tests need: servers of other projects, and Rust for WASM. */
	needsMore?: true;
}

/** Rust's tests are built without optimisation, beside the programs of the set-up. */
const DEBUG_BUILD = { shows: join(root, "target/debug/native-bridge"), minutes: 5, diskMb: 4500 };

const vitest = (name: string, minutes: number, ...args: string[]): Suite => ({
	name,
	minutes,
	program: process.execPath,
	args: ["node_modules/vitest/vitest.mjs", "run", ...args],
});

const suites: Suite[] = [
	{ ...vitest("unit", 1), needsMore: true },
	{
		name: "rust",
		minutes: 2,
		program: "cargo",
		args: ["test", "--workspace", "--locked", "--no-fail-fast"],
		env: cargoEnv,
		needsMore: true,
	},
	{
		name: "python",
		minutes: 0.2,
		program: "/usr/bin/python3",
		args: ["-m", "unittest", "discover", "-s", "clients/python/tests", "-t", "clients/python"],
	},
	{
		name: "clients",
		minutes: 0.5,
		program: "/usr/bin/python3",
		args: ["-m", "unittest", "discover", "-s", "clients/conformance"],
		env: cargoEnv,
	},
	{ ...vitest("end to end", 15, "--config", "test/vitest.config.ts"), needsMore: true },
];

/** The suites of these names; all where none is given. Throws {@link SetupError} for a name that none has. */
export function chooseSuites(names: readonly string[]): Suite[] {
	const unknown = names.find((name) => !suites.some((suite) => suite.name === name));
	if (unknown !== undefined) {
		const known = suites.map(({ name }) => `"${name}"`).join(", ");
		throw new SetupError(`there are no tests "${unknown}": npm test -- [${known}]`);
	}
	return suites.filter(({ name }) => names.length === 0 || names.includes(name));
}

/** "Tests: unit, rust. About 3 minutes, and once 5 more (4500 MB on disk) for the debug build of Rust." */
export function announceSuites(chosen: readonly Suite[], isBuilt = existsSync(DEBUG_BUILD.shows)): string {
	const minutes = Math.ceil(chosen.reduce((sum, suite) => sum + suite.minutes, 0));
	const { minutes: more, diskMb } = DEBUG_BUILD;
	const build =
		!isBuilt && chosen.some(({ name }) => name === "rust")
			? `, and once ${more} more (${diskMb} MB on disk) for the debug build of Rust`
			: "";
	const about = `About ${minutes} ${minutes === 1 ? "minute" : "minutes"}`;
	return `Tests: ${chosen.map(({ name }) => name).join(", ")}. ${about}${build}.`;
}

/** Runs the suites one after the other and prints their sum. Returns the status to exit with: 0 when all tests pass. */
export async function runSuites(chosen: readonly Suite[]): Promise<number> {
	process.stderr.write(`${announceSuites(chosen)}\n`);
	let failed = false;
	let total: Counts = { passed: 0, failed: 0 };
	for (const suite of chosen) {
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
