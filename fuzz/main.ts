/**
 * `npm run fuzz -- [--seconds N] [TARGET...]`: the targets of dev/fuzz under libFuzzer, one after the other, then the tests of
 * what is TypeScript with more damaged copies. What is found goes to target/fuzz/failures.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { root } from "../setup/stamp.ts";
import { cargoEnv } from "../setup/steps/rust.ts";

const VERSION = "0.13.1";
const tools = join(root, "target/tools");
const out = join(root, "target/fuzz");
/** libFuzzer's coverage needs compiler flags that Rust calls unstable; they are there in the stable compiler. */
const env = {
	...cargoEnv,
	PATH: `${join(tools, "bin")}:${cargoEnv.PATH}`,
	RUSTC_BOOTSTRAP: "1",
	ASAN_OPTIONS: "detect_leaks=0",
};

const { values, positionals } = parseArgs({
	options: { seconds: { type: "string", default: "60" } },
	allowPositionals: true,
});
const seconds = Number(values.seconds);
const known = readdirSync(join(root, "fuzz/fuzz_targets")).map((file) => file.replace(/\.rs$/, ""));
const unknown = positionals.find((name) => !known.includes(name));
if (unknown !== undefined || !Number.isInteger(seconds) || seconds < 1) {
	process.stderr.write(`usage: npm run fuzz -- [--seconds N] [${known.join(" | ")}]\n`);
	process.exit(2);
}

/** Runs a program to its end; its own output is all that is said. */
function run(program: string, args: string[], more: NodeJS.ProcessEnv = {}): boolean {
	return spawnSync(program, args, { cwd: root, env: { ...env, ...more }, stdio: "inherit" }).status === 0;
}

function mustRun(program: string, args: string[]): void {
	if (!run(program, args)) process.exit(1);
}

if (!existsSync(join(tools, "bin/cargo-fuzz"))) {
	mustRun("cargo", ["install", "cargo-fuzz", "--version", VERSION, "--locked", "--root", tools]);
}
const build = ["--fuzz-dir", "fuzz", "--target-dir", out];
mustRun("cargo", ["fuzz", "build", ...build]);

const failed: string[] = [];
for (const target of positionals.length > 0 ? positionals : known) {
	process.stdout.write(`── ${target}, ${seconds} s\n`);
	const [found, failures] = [join(out, "corpus", target), join(out, "failures", target)];
	for (const folder of [found, failures]) mkdirSync(folder, { recursive: true });
	const limits = [`-max_total_time=${seconds}`, "-timeout=20", "-rss_limit_mb=2048", "-max_len=4096"];
	const flags = [...limits, `-artifact_prefix=${failures}/`];
	if (!run("cargo", ["fuzz", "run", ...build, target, found, join("fuzz/corpus", target), "--", ...flags])) {
		failed.push(target);
	}
}
if (positionals.length === 0) {
	process.stdout.write("── TypeScript\n");
	const workers = `--maxWorkers=${Math.min(availableParallelism(), 3)}`;
	const tests = ["node_modules/vitest/vitest.mjs", "run", "--project", "node", workers, "fuzz.node"];
	if (!run(process.execPath, tests, { FUZZ_ROUNDS: String(seconds * 2_000) })) failed.push("TypeScript");
}
process.stdout.write(failed.length === 0 ? "Nothing was found.\n" : `Failed: ${failed.join(", ")}\n`);
process.exitCode = failed.length === 0 ? 0 : 1;
