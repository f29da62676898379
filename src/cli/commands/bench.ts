import { spawn } from "node:child_process";
import { once } from "node:events";
import { Command } from "commander";
import { inRoot } from "../paths.ts";

/** `headstart bench NAME …`: all that follows is passed on to bench/main.ts. */
export function benchCommand(): Command {
	return new Command("bench")
		.description("Measures: imgrec, fetch, splice (docs/benchmarks.md); all, fig9 … (docs/evaluation.md)")
		.argument("[arguments...]")
		.allowUnknownOption()
		.helpOption(false)
		.passThroughOptions()
		.action(async (args: string[]) => {
			const child = spawn(process.execPath, [inRoot("bench/main.ts"), ...args], { stdio: "inherit" });
			const ignore = (): void => undefined; // Ctrl-C reaches the child too, which ends in its own way
			process.on("SIGINT", ignore);
			const [status] = await once(child, "close");
			process.off("SIGINT", ignore);
			process.exitCode = typeof status === "number" ? status : 1;
		});
}
