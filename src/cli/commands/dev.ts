import { Command } from "commander";
import { NodeClient } from "../client.ts";
import { deploy } from "../deploy/deploy.ts";
import { readManifest } from "../deploy/manifest.ts";
import { wranglerHost } from "../dev/host.ts";
import { watchFolder } from "../dev/watch.ts";
import { describe } from "../errors.ts";
import { startNode } from "../node/node.ts";
import { runUntilSignal } from "../node/signals.ts";
import { summary } from "./deploy.ts";
import {
	type NodeCommandOptions,
	nodeOptions,
	print,
	readyJson,
	readyText,
	withNodeOptions,
} from "./node.ts";

/** `headstart dev [DIR…]`: a node with the host in `wrangler dev`, and these applications deployed anew as they change. */
export function devCommand(): Command {
	return withNodeOptions(new Command("dev"))
		.description("Runs a node for development, with a store, and deploys applications as they change")
		.argument("[dirs...]", "applications' folders")
		.action(async (dirs: string[], options: NodeCommandOptions) => {
			for (const dir of dirs) await readManifest(dir);
			await runUntilSignal(async () => {
				const settings = nodeOptions({ ...options, devStore: true });
				const node = await startNode({ ...settings, development: true, sink: print, host: wranglerHost });
				console.log(options.json ? readyJson(node) : `headstart dev: ${readyText(node)}`);
				const client = new NodeClient(node.url);
				const ended = new AbortController();
				const watching = dirs.map((dir) =>
					watchFolder(dir, () => redeploy(dir, client, options.json === true), ended.signal).catch((error) =>
						print(dir, `is not watched: ${error}`),
					),
				);
				const stop = async (): Promise<void> => {
					ended.abort();
					await Promise.all(watching);
					await node.stop();
				};
				return { ...node, stop };
			});
		});
}

/** Deploys; what is wrong is printed, and mended by the next change. Instances that run are not touched. */
async function redeploy(dir: string, client: NodeClient, json: boolean): Promise<void> {
	try {
		const deployed = await deploy(dir, client);
		console.log(json ? JSON.stringify(deployed) : summary(deployed));
	} catch (error) {
		print(dir, describe(error));
	}
}
