/** Shaped links in front of servers on this machine: one profile for all that a start waits for. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { SERVICES } from "../../src/cli/node/dev-store.ts";
import { program } from "../../src/cli/paths.ts";

/** What a link of profile "s3" does: headstart-link's own defaults, and those before the node's store. */
export const LINK = { profile: "s3", first_byte_ms: 25, mb_s: 69.5 };

/** Links that end together. */
export class Links {
	readonly #children: ChildProcess[] = [];

	/**
	 * A link to "host:port".
	 *
	 * @param on the address that it listens at; reached from sandboxes, too, unless it is said
	 * @returns its own "host:port"
	 */
	async to(server: string, on: string = SERVICES): Promise<string> {
		const args = ["--listen", `${on}:0`, "--to", server];
		// It stands for another machine: its work must take no time from what is measured.
		const command = ["--pdeathsig", "KILL", "--", "nice", "-n", "19", program("headstart-link"), ...args];
		// A terminal's Ctrl-C is for the benchmark, which ends it then.
		const child = spawn("setpriv", command, { stdio: ["ignore", "pipe", "inherit"], detached: true });
		this.#children.push(child);
		for await (const line of createInterface(child.stdout)) {
			const place = /^ready: link on (\S+) to /.exec(line)?.[1];
			if (place !== undefined) return place;
		}
		throw new Error(`the link to ${server} ended`);
	}

	async stop(): Promise<void> {
		const running = this.#children
			.splice(0)
			.filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null);
		const ends = running.map((child) => once(child, "exit"));
		for (const child of running) child.kill("SIGTERM");
		await Promise.all(ends);
	}
}
