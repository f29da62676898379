import { Command } from "commander";
import { benchCommand } from "./commands/bench.ts";
import { deployCommand } from "./commands/deploy.ts";
import { devCommand } from "./commands/dev.ts";
import { doctorCommand } from "./commands/doctor.ts";
import { imageCommand } from "./commands/image.ts";
import { initCommand } from "./commands/init.ts";
import { initscriptCommand } from "./commands/initscript.ts";
import { invokeCommand } from "./commands/invoke.ts";
import { loginCommand } from "./commands/login.ts";
import { logsCommand } from "./commands/logs.ts";
import { nodeCommand } from "./commands/node.ts";
import { secretCommand } from "./commands/secret.ts";
import { serviceCommand } from "./commands/service.ts";
import { tenantCommand } from "./commands/tenant.ts";
import { traceCommand } from "./commands/trace.ts";
import { describe } from "./errors.ts";
import { plain } from "./plain.ts";

const commands = [
	initCommand,
	devCommand,
	nodeCommand,
	loginCommand,
	tenantCommand,
	secretCommand,
	deployCommand,
	imageCommand,
	initscriptCommand,
	invokeCommand,
	serviceCommand,
	traceCommand,
	logsCommand,
	benchCommand,
	doctorCommand,
];

const program = new Command("headstart")
	.description("Runs the initialization of a cloud function during its setup.")
	.version("0.1.0")
	.enablePositionalOptions()
	.showHelpAfterError();
for (const command of commands) program.addCommand(command());

process.stdout.on("error", (error: NodeJS.ErrnoException) => {
	if (error.code === "EPIPE") process.exit(0);
	throw error;
});

try {
	await program.parseAsync();
} catch (error) {
	process.stderr.write(`headstart: ${plain(describe(error))}\n`);
	process.exitCode = 1;
}
