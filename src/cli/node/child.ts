import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { findProgram } from "../find-program.ts";

/** A line that a program of the node printed, and the program's short name. */
export type Sink = (from: string, line: string) => void;

export interface Program {
	name: string;
	command: string;
	args: string[];
	options?: SpawnOptions;
}

const BACK_OFF = { first: 50, most: 5_000, forgiven: 10_000 };

/**
 * A program of the node that is kept running: started again when it dies, at once the first time and then with growing
 * pauses (milliseconds in {@link BACK_OFF}; forgiven after a life that long).
 *
 * It leads a session of its own: Ctrl-C in a terminal reaches this process only, which ends its programs in their order.
 */
export class Supervised {
	readonly #program: Program;
	readonly #sink: Sink;
	#child: ChildProcess;
	/** Told after each restart. */
	onRestart: (() => void) | undefined;
	#stopped = false;
	#pause = BACK_OFF.first;
	#timer: NodeJS.Timeout | undefined;
	#restarts = 0;

	constructor(program: Program, sink: Sink) {
		this.#program = program;
		this.#sink = sink;
		this.#child = this.#start();
	}

	/** The process id of the present life. */
	get pid(): number | undefined {
		return this.#child.pid;
	}

	/** How often it was started again. */
	get restarts(): number {
		return this.#restarts;
	}

	#start(): ChildProcess {
		const { name, command, args, options } = this.#program;
		const child = spawn(...withParent(command, args), {
			...options,
			detached: true,
			stdio: ["ignore", "pipe", "pipe"],
		});
		const began = Date.now();
		for (const output of [child.stdout, child.stderr]) {
			if (output) createInterface(output).on("line", (line) => this.#sink(name, line));
		}
		child.on("error", (error) => {
			this.#sink(name, `cannot start: ${error.message}`);
			if (child.pid === undefined) this.#died(127, null, 0);
		});
		child.on("exit", (status, signal) => this.#died(status, signal, Date.now() - began));
		return child;
	}

	#died(status: number | null, signal: NodeJS.Signals | null, life: number): void {
		if (this.#stopped) return;
		if (life > BACK_OFF.forgiven) this.#pause = BACK_OFF.first;
		this.#sink(
			this.#program.name,
			`ended with ${signal ?? `status ${status}`}; starting it again in ${this.#pause} ms`,
		);
		this.#timer = setTimeout(() => {
			this.#restarts++;
			this.#child = this.#start();
			this.onRestart?.();
		}, this.#pause);
		this.#pause = Math.min(this.#pause * 4, BACK_OFF.most);
	}

	/** Ends it: SIGTERM, and SIGKILL to it and its own programs when it still runs after `grace` milliseconds. */
	async stop(grace: number): Promise<void> {
		this.#stopped = true;
		clearTimeout(this.#timer);
		await endChild(this.#child, grace);
	}
}

/** The command, so that the kernel ends it when this process is killed: nothing must be left that nobody supervises. */
function withParent(command: string, args: readonly string[]): [string, string[]] {
	const setpriv = findProgram("setpriv");
	return setpriv === undefined
		? [command, [...args]]
		: [setpriv, ["--pdeathsig", "TERM", "--", command, ...args]];
}

async function endChild(child: ChildProcess, grace: number): Promise<void> {
	const { pid } = child;
	if (pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
	const ended = once(child, "exit");
	child.kill("SIGTERM");
	const timer = setTimeout(() => process.kill(-pid, "SIGKILL"), grace);
	await ended;
	clearTimeout(timer);
}
