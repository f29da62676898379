import { Command } from "commander";
import type { InstanceRecord, InstanceSummary } from "../../shared/record.ts";
import { NodeClient } from "../client.ts";
import { CliError } from "../errors.ts";
import { renderTrace, traceJson } from "../trace/render.ts";

/** `headstart trace [ID]`: where the time of an instance's first invocation went. */
export function traceCommand(): Command {
	return new Command("trace")
		.description("Shows where an instance's time went (without an id: the latest one's)")
		.argument("[id]")
		.option("--node <url>", "the node's address")
		.option("--json", "print JSON")
		.action(async (id: string | undefined, options: { node?: string; json?: true }) => {
			const client = new NodeClient(options.node);
			const record = await fetchRecord(client, id ?? (await latest(client)));
			console.log(options.json ? JSON.stringify(traceJson(record)) : renderTrace(record, terminal()));
		});
}

export function fetchRecord(client: NodeClient, id: string): Promise<InstanceRecord> {
	return client.json<InstanceRecord>(`/v1/instances/${encodeURIComponent(id)}`);
}

async function latest(client: NodeClient): Promise<string> {
	const { instances } = await client.json<{ instances: InstanceSummary[] }>("/v1/instances");
	const [first] = instances.toSorted((a, b) => b.startedAt - a.startedAt);
	if (!first) throw new CliError("this node has had no instance yet", "start one with `headstart invoke`");
	return first.id;
}

/** How wide the terminal is, and whether it shows colours. */
export function terminal(): { width: number; color: boolean } {
	return {
		width: process.stdout.columns ?? 110,
		color: process.stdout.isTTY === true && process.env.NO_COLOR === undefined,
	};
}
