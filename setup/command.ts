import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { root } from "./stamp.ts";
import { SetupError } from "./step.ts";

/** Lines kept of a command's output, to be shown when it fails. */
const KEPT = 40;
/** How often a running command is shown to be alive where there is no terminal, ms. */
const BEAT = 10_000;
/** How long a command may take unless told otherwise: far longer than it does on a slow machine and line. */
const MINUTES = 20;
/** How long it may take to end when it was told to, ms. */
const GRACE = 5_000;

export interface CommandOptions {
	cwd?: string;
	env?: NodeJS.ProcessEnv;
	/** When it is given up. */
	minutes?: number;
}

/**
 * Runs a command and shows on one line of the terminal that it goes on, and what it printed last; elsewhere a line every ten
 * seconds. Throws a {@link SetupError} with the end of its output when it fails or does not end in time.
 */
export async function command(
	name: string,
	program: string,
	args: readonly string[],
	{ cwd = root, env = process.env, minutes = MINUTES }: CommandOptions = {},
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
		const how = await ended(child, program, minutes);
		if (how === undefined) return;
		if (live) process.stderr.write("\r\x1b[K");
		throw new SetupError(`${kept.join("\n")}\n${name} failed: "${program} ${args.join(" ")}" ${how}`);
	} finally {
		clearInterval(timer);
		if (live) process.stderr.write("\r\x1b[K");
	}
}

/** How a command failed: "ended with status 1"; undefined when it did not. It is killed when its time is over. */
async function ended(child: ChildProcess, program: string, minutes: number): Promise<string | undefined> {
	const late = new AbortController();
	const timer = setTimeout(() => late.abort(), minutes * 60_000);
	try {
		const [status, signal] = await once(child, "close", { signal: late.signal });
		return status === 0 ? undefined : `ended with ${signal ?? `status ${status}`}`;
	} catch (error) {
		if (!late.signal.aborted) {
			throw new SetupError(`${program} cannot be run: ${error instanceof Error ? error.message : error}`);
		}
		child.kill("SIGTERM");
		setTimeout(() => child.kill("SIGKILL"), GRACE).unref();
		// Its own programs may hold its output open: that is not waited for.
		child.stdout?.destroy();
		child.stderr?.destroy();
		return `did not end within ${minutes} minutes: see whether the network works, then run this again`;
	} finally {
		clearTimeout(timer);
	}
}
