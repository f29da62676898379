/**
 * Keeps the files that starts read in the machine's memory. Virtual machines may be made to give back what was not read for a while
 * (half a minute, by DAMON), and then some starts wait for a disk and others do not.
 */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface, type Interface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { inRoot } from "../../src/cli/paths.ts";

export class Keeper {
	readonly #child: ChildProcessByStdio<Writable, Readable, null>;
	readonly #lines: Interface;
	readonly #ended: Promise<unknown>;
	readonly #kept = new Set<string>();

	constructor() {
		const command = ["--pdeathsig", "KILL", "--", "/usr/bin/python3", inRoot("bench/keep.py")];
		// A terminal's Ctrl-C is for the benchmark, which ends it then.
		this.#child = spawn("setpriv", command, { stdio: ["pipe", "pipe", "inherit"], detached: true });
		this.#child.stdin.on("error", () => undefined);
		this.#ended = once(this.#child, "exit");
		this.#lines = createInterface(this.#child.stdout);
	}

	get pid(): number | undefined {
		return this.#child.pid;
	}

	/** Returns when these files, and those in these folders, are in memory; they stay there until the end. */
	async keep(paths: readonly string[]): Promise<void> {
		for (const path of paths) {
			if (this.#kept.has(path)) continue;
			const ended = this.#ended.then(() => Promise.reject(new Error("bench/keep.py ended")));
			this.#child.stdin.write(`${path}\n`);
			await Promise.race([once(this.#lines, "line"), ended]);
			this.#kept.add(path);
		}
	}

	async stop(): Promise<void> {
		this.#child.stdin.end();
		await this.#ended;
	}
}
