import { Command } from "commander";
import type { ServiceInstance, ServiceSummary } from "../../shared/service.ts";
import { isOver } from "../../shared/service.ts";
import { failure, NodeClient } from "../client.ts";
import { CliError } from "../errors.ts";
import { interruption } from "../interrupt.ts";

interface ServiceOptions {
	data?: string;
	wait?: boolean;
	all?: true;
	node?: string;
	json?: true;
}

/** `headstart service …`: starts, lists and stops long-running programs (docs/services.md). */
export function serviceCommand(): Command {
	return new Command("service")
		.description("Starts, lists and stops services")
		.addCommand(
			common("start", "starts an instance of a service, and waits until it is ready")
				.argument("<name>")
				.option("-d, --data <json>", "its initscript's input")
				.option("--no-wait", "do not wait")
				.action(start),
		)
		.addCommand(
			common("list", "shows services and what runs of them")
				.argument("[name]", "only this one's instances")
				.option("-a, --all", "also those that have ended")
				.action(list),
		)
		.addCommand(
			common("stop", "ends an instance of a service, or all of its instances")
				.argument("<name>")
				.argument("[id]")
				.action(stop),
		);
}

async function start(name: string, { data, wait, node, json }: ServiceOptions): Promise<void> {
	const client = new NodeClient(node);
	const answer = await client.open(`${instances(name)}${wait === false ? "?wait=0" : ""}`, {
		method: "POST",
		body: Buffer.from(data ?? ""),
		headers: { "content-type": "application/json" },
		signal: interruption(),
	});
	if (answer.status >= 400) throw await failure(answer);
	const started = (await answer.json()) as ServiceInstance;
	console.log(json ? JSON.stringify(started) : line(started));
}

async function list(name: string | undefined, { all, node, json }: ServiceOptions): Promise<void> {
	const client = new NodeClient(node);
	const wanted = (it: ServiceInstance): boolean => all === true || !isOver(it.state);
	if (name !== undefined || all) {
		const names = name === undefined ? (await services(client)).map((it) => it.name) : [name];
		const found = (await Promise.all(names.map((it) => of(client, it)))).flat().filter(wanted);
		console.log(json ? JSON.stringify({ instances: found }) : found.map(line).join("\n"));
		return;
	}
	const found = await services(client);
	if (json) {
		console.log(JSON.stringify({ services: found }));
		return;
	}
	for (const { name, service, instances } of found) {
		console.log(`${name.padEnd(24)} port ${service.port ?? "-"}, restart ${service.restart}`);
		for (const it of instances) console.log(`  ${line(it)}`);
	}
}

async function stop(name: string, id: string | undefined, { node, json }: ServiceOptions): Promise<void> {
	const client = new NodeClient(node);
	const live = (await of(client, name)).filter(({ state }) => !isOver(state)).map((it) => it.id);
	if (id === undefined && live.length === 0) throw new CliError(`nothing of ${name} runs`);
	const ended = await Promise.all(
		(id === undefined ? live : [id]).map(async (it) => {
			const answer = await client.open(`${instances(name)}/${encodeURIComponent(it)}`, { method: "DELETE" });
			if (answer.status >= 400) throw await failure(answer);
			return (await answer.json()) as ServiceInstance;
		}),
	);
	console.log(json ? JSON.stringify({ instances: ended }) : ended.map(line).join("\n"));
}

async function services(client: NodeClient): Promise<ServiceSummary[]> {
	return (await client.json<{ services: ServiceSummary[] }>("/v1/services")).services;
}

async function of(client: NodeClient, name: string): Promise<ServiceInstance[]> {
	return (await client.json<{ instances: ServiceInstance[] }>(instances(name))).instances;
}

function instances(name: string): string {
	return `/v1/services/${encodeURIComponent(name)}/instances`;
}

/** "s-… ready at 127.0.0.1:41234 after 61 ms". */
function line({ id, state, address, ready_ms, restarts, error }: ServiceInstance): string {
	const parts = [id, state];
	if (address !== undefined) parts.push(`at ${address}`);
	if (ready_ms !== undefined) parts.push(`after ${Math.round(ready_ms)} ms`);
	if (restarts > 0) parts.push(`restarts ${restarts}`);
	if (error !== undefined) parts.push(`(${error.code}: ${error.message})`);
	return parts.join(" ");
}

function common(name: string, description: string): Command {
	return new Command(name)
		.description(description)
		.option("--node <url>", "the node's address")
		.option("--json", "print JSON");
}
