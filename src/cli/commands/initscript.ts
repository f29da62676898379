import { Command } from "commander";
import { pushInitscript } from "../image/initscript.ts";
import { parseTarget } from "../image/push.ts";
import { size } from "../trace/spans.ts";

/** `headstart initscript …`: initscripts as artifacts of a registry (docs/images.md). */
export function initscriptCommand(): Command {
	return new Command("initscript").description("Gives initscripts to registries").addCommand(
		new Command("push")
			.description("builds the initscript of an application's folder and pushes it as an OCI artifact")
			.argument("<dir>")
			.argument("<registry/name[:tag]>")
			.option("--plain", "the registry speaks HTTP without TLS")
			.option("--json", "print one JSON object: reference, format, bytes")
			.action(async (dir: string, to: string, options: { plain?: true; json?: true }) => {
				const pushed = await pushInitscript(dir, parseTarget(to), options.plain === true);
				if (options.json) {
					console.log(JSON.stringify(pushed));
					return;
				}
				console.log(pushed.reference);
				process.stderr.write(`${size(pushed.bytes)} (${pushed.format})\n`);
			}),
	);
}
