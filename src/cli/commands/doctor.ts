import { Command } from "commander";
import { checkMachine } from "../doctor/checks.ts";
import { findLeaks } from "../doctor/leaks.ts";

/** `headstart doctor`: what this machine lacks, or what a node left behind. Exits with 1 when there is something. */
export function doctorCommand(): Command {
	return new Command("doctor")
		.description("Says what this machine lacks to run a node")
		.option("--leaks", "instead: list what is left of instances that have ended")
		.option("--run <dir>", "the node's run directory", "/run/headstart")
		.option("--state <dir>", "the node's state directory", "/var/lib/headstart")
		.option("--json", "print JSON")
		.action(async (options: { leaks?: true; run: string; state: string; json?: true }) => {
			if (options.leaks) await leaks(options);
			else await machine(options.json === true);
		});
}

async function machine(json: boolean): Promise<void> {
	const checks = await checkMachine();
	if (checks.some(({ state }) => state === "missing")) process.exitCode = 1;
	if (json) {
		console.log(JSON.stringify(checks));
		return;
	}
	const signs = { ok: "✓", warning: "!", missing: "✗" };
	for (const { name, state, found, mend } of checks) {
		console.log(`${signs[state]} ${name.padEnd(22)} ${found}${mend ? `: ${mend}` : ""}`);
	}
}

async function leaks({ run, state, json }: { run: string; state: string; json?: true }): Promise<void> {
	const found = await findLeaks(run, state);
	if (found.length > 0) process.exitCode = 1;
	if (json) {
		console.log(JSON.stringify(found));
		return;
	}
	for (const { kind, name, by } of found)
		console.log(`${kind.padEnd(10)} ${name}${by ? ` (held by ${by})` : ""}`);
	if (found.length === 0) console.log("nothing is left behind");
}
