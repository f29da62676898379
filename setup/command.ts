import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { root } from "./stamp.ts";
import { SetupError } from "./step.ts";

/** Lines kept of a command's output, to be shown when it fails. */
const KEPT = 40;
/** How often a running command is shown to be alive where there is no terminal, ms. */
const BEAT = 10_000;

export interface CommandOptions {
	cwd?: string;
	env?: NodeJS.ProcessEnv;
}

/**
 * Runs a command and shows on one line of the terminal that it goes on, and what it printed last; elsewhere a line every ten
 * seconds. Throws a {@link SetupError} with the end of its output when it fails.
 */
export async function command(
	name: string,
	program: string,
	args: readonly string[],
	{ cwd = root, env = process.env }: CommandOptions = {},
): Promise<void> {
	const began = Date.now();
	const child = spawn(program, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
	const kept: string[] = [];
	const elapsed = (): string => `${Math.round((Date.now() - began) / 1000)} s`;
	const live = process.stderr.isTTY === true;
	const show = (): void => {
		const last = kept.at(-1)?.trim() ?? "";
		if (live)
			process.stderr.write(
				`\r\x1b[K${`  ${name} ${elapsed()}  ${last}`.slice(0, process.stderr.columns - 1)}`,
			);
		else process.stderr.write(`  ${name}: ${elapsed()}\n`);
	};
	const timer = setInterval(show, live ? 200 : BEAT);
	for (const output of [child.stdout, child.stderr]) {
		createInterface(output).on("line", (line) => {
			kept.push(line);
			if (kept.length > KEPT) kept.shift();
		});
	}
	try {
		const [status, signal] = await ended(child, program);
		if (status === 0) return;
		if (live) process.stderr.write("\r\x1b[K");
		throw new SetupError(
			`${kept.join("\n")}\n${name} failed: "${program} ${args.join(" ")}" ended with ${signal ?? `status ${status}`}`,
		);
	} finally {
		clearInterval(timer);
		if (live) process.stderr.write("\r\x1b[K");
	}
}

async function ended(child: ReturnType<typeof spawn>, program: string): Promise<unknown[]> {
	try {
		return await once(child, "close");
	} catch (error) {
		throw new SetupError(`${program} cannot be run: ${error instanceof Error ? error.message : error}`);
	}
}
