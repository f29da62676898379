import { Command } from "commander";
import { NodeClient } from "../client.ts";
import { type Deployed, deploy } from "../deploy/deploy.ts";
import { size } from "../trace/spans.ts";

/** `headstart deploy DIR`: builds a function and gives it to a node. */
export function deployCommand(): Command {
	return new Command("deploy")
		.description("Builds an application with its initscript and gives it to a node")
		.argument("<dir>")
		.option("--node <url>", "the node's address")
		.option("--json", "print JSON")
		.action(async (dir: string, options: { node?: string; json?: true }) => {
			const deployed = await deploy(dir, new NodeClient(options.node));
			console.log(options.json ? JSON.stringify(deployed) : summary(deployed));
		});
}

/** "imgrec: 61.2 MB of files (already there), initscript 3.1 kB (typescript)". */
export function summary({ name, bundleBytes, bundleKnown, initscript }: Deployed): string {
	const metered =
		initscript?.meteredBytes === undefined ? "" : `, ${size(initscript.meteredBytes)} with its meter`;
	const script = initscript
		? `, initscript ${size(initscript.bytes)} (${initscript.language}${metered})`
		: ", no initscript";
	return `${name}: ${size(bundleBytes)} of files${bundleKnown ? " (already there)" : ""}${script}`;
}
