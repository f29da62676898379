import { spawn } from "node:child_process";
import { once } from "node:events";
import { Command } from "commander";
import { inRoot } from "../paths.ts";

/** `headstart setup`: the set-up that the demo and the tests share, by itself. */
export function setupCommand(): Command {
	return new Command("setup")
		.description("Installs and builds what a node needs on this machine")
		.action(async () => {
			const child = spawn(process.execPath, [inRoot("setup/main.ts"), "setup"], { stdio: "inherit" });
			const [status] = await once(child, "close");
			process.exitCode = typeof status === "number" ? status : 1;
		});
}
