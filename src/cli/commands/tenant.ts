import { Command } from "commander";
import type { Quota, Tenant } from "../../shared/tenant.ts";
import { parseBytes } from "../../shared/units.ts";
import { NodeClient } from "../client.ts";
import { CliError } from "../errors.ts";

interface QuotaOptions {
	memory?: string;
	instances?: string;
	connections?: string;
	services?: string;
	bundles?: string;
}

interface CommonOptions {
	node?: string;
	json?: true;
}

/** `headstart tenant …`: the operator's. */
export function tenantCommand(): Command {
	return new Command("tenant")
		.description("Adds, lists, changes and removes tenants (needs the operator's token)")
		.addCommand(
			withQuota("add", "adds a tenant and prints its token, which is told only now").action(
				async (name: string, options: CommonOptions & QuotaOptions) => {
					const added = await send<Tenant & { token: string }>(options, "POST", path(name), quotaOf(options));
					console.log(options.json ? JSON.stringify(added) : added.token);
				},
			),
		)
		.addCommand(
			withQuota("quota", "changes what a tenant may use; what is not named has no limit").action(
				async (name: string, options: CommonOptions & QuotaOptions) => {
					const changed = await send<Tenant>(options, "PUT", `${path(name)}/quota`, quotaOf(options));
					console.log(options.json ? JSON.stringify(changed) : described(changed.quota));
				},
			),
		)
		.addCommand(
			common("token", "gives a tenant another token; what was begun with the old one ends")
				.argument("<name>")
				.action(async (name: string, options: CommonOptions) => {
					const renewed = await send<{ token: string }>(options, "POST", `${path(name)}/token`);
					console.log(options.json ? JSON.stringify(renewed) : renewed.token);
				}),
		)
		.addCommand(
			common("remove", "removes a tenant with its instances, functions, secrets and records")
				.argument("<name>")
				.action(async (name: string, options: CommonOptions) => {
					await new NodeClient(options.node).ask(path(name), { method: "DELETE" });
					if (options.json) console.log(JSON.stringify({ removed: name }));
				}),
		)
		.addCommand(common("list", "shows the tenants with their quotas and what they use").action(list));
}

async function list(options: CommonOptions): Promise<void> {
	const answer = await new NodeClient(options.node).json<{ tenants: (Tenant & { used: Required<Quota> })[] }>(
		"/v1/tenants",
	);
	if (options.json) {
		console.log(JSON.stringify(answer));
		return;
	}
	for (const { name, quota, used } of answer.tenants) {
		console.log(`${name.padEnd(24)} ${described(quota).padEnd(48)} uses ${described(used)}`);
	}
}

/** "2 instances, 1GiB, 8 connections, 4 services". */
function described({ memory, instances, connections, services, bundles }: Quota): string {
	const parts = [
		instances === undefined ? [] : `${instances} instances`,
		memory === undefined ? [] : inUnits(memory),
		connections === undefined ? [] : `${connections} connections`,
		services === undefined ? [] : `${services} services`,
		bundles === undefined ? [] : `${inUnits(bundles)} of bundles`,
	].flat();
	return parts.length === 0 ? "no limits of its own" : parts.join(", ");
}

/** Bytes as quotas are written, "1.5GiB". */
function inUnits(bytes: number): string {
	const units: [string, number][] = [
		["GiB", 2 ** 30],
		["MiB", 2 ** 20],
		["KiB", 2 ** 10],
	];
	const [unit, size] = units.find(([, size]) => bytes >= size) ?? ["B", 1];
	return `${Number((bytes / size).toFixed(1))}${unit}`;
}

function common(name: string, description: string): Command {
	return new Command(name)
		.description(description)
		.option("--node <url>", "the node's address")
		.option("--json", "print JSON");
}

function withQuota(name: string, description: string): Command {
	return common(name, description)
		.argument("<name>")
		.option("--memory <size>", "of its sandboxes and results together, as 2GiB")
		.option("--instances <number>", "at one time")
		.option("--connections <number>", "open at one time")
		.option("--services <number>", "that have not ended (32 where nothing is said)")
		.option("--bundles <size>", "of its applications' files on the disk (16GiB where nothing is said)");
}

function quotaOf({ memory, instances, connections, services, bundles }: QuotaOptions): Quota {
	return {
		...bytes("memory", memory),
		...bytes("bundles", bundles),
		...count("instances", instances),
		...count("connections", connections),
		...count("services", services),
	};
}

function bytes(name: "memory" | "bundles", text: string | undefined): Quota {
	if (text === undefined) return {};
	const size = parseBytes(text);
	if (size === undefined) throw new CliError(`--${name} ${text} is no size`, "write it as 512MiB or 2GiB");
	return { [name]: size };
}

function count(name: "instances" | "connections" | "services", text: string | undefined): Quota {
	if (text === undefined) return {};
	if (!/^[1-9]\d{0,8}$/.test(text)) throw new CliError(`--${name} ${text} is no number from 1`);
	return { [name]: Number(text) };
}

function path(name: string): string {
	return `/v1/tenants/${encodeURIComponent(name)}`;
}

function send<T>({ node }: CommonOptions, method: string, path: string, body?: Quota): Promise<T> {
	return new NodeClient(node).json<T>(path, { method, ...(body && { body: JSON.stringify(body) }) });
}
