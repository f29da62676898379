import { readFile } from "node:fs/promises";
import { Command } from "commander";
import { parse } from "smol-toml";
import { DEFAULT_NODE, NodeClient } from "../client.ts";
import { credentialsOf } from "../credentials.ts";
import { CliError, systemCode } from "../errors.ts";
import { readStdin } from "../stdin.ts";

interface SecretOptions {
	node?: string;
	file?: string;
	json?: true;
}

/** `headstart secret …`: a tenant's secrets. They can be written and removed, never read. */
export function secretCommand(): Command {
	return new Command("secret")
		.description("Sets, lists and removes the secrets of a tenant")
		.addCommand(
			common("set", "keeps a secret, read from standard input or a file as TOML or JSON")
				.argument("<name>", "NAME, or TENANT/NAME")
				.option("-f, --file <path>", "read it from a file")
				.action(set),
		)
		.addCommand(common("list", "shows names and kinds").argument("[tenant]").action(list))
		.addCommand(
			common("remove", "removes a secret")
				.argument("<name>", "NAME, or TENANT/NAME")
				.action(async (place: string, options: SecretOptions) => {
					const { client, name } = target(place, options);
					await client.ask(`/v1/secrets/${encodeURIComponent(name)}`, { method: "DELETE" });
					if (options.json) console.log(JSON.stringify({ removed: place }));
				}),
		)
		.addCommand(
			common("rotate-key", "replaces the key that the node seals all secrets with (the operator's)").action(
				rotateKey,
			),
		);
}

async function set(place: string, options: SecretOptions): Promise<void> {
	const { client, name } = target(place, options);
	const body = JSON.stringify(table(await value(options.file)));
	await client.ask(`/v1/secrets/${encodeURIComponent(name)}`, { method: "PUT", body });
	if (options.json) console.log(JSON.stringify({ set: place }));
}

async function list(tenant: string | undefined, options: SecretOptions): Promise<void> {
	const { client } = target(tenant === undefined ? "" : `${tenant}/`, options);
	const answer = await client.json<{ secrets: { name: string; kind: string }[] }>("/v1/secrets");
	if (options.json) {
		console.log(JSON.stringify(answer));
		return;
	}
	for (const { name, kind } of answer.secrets) console.log(`${name.padEnd(24)} ${kind}`);
}

async function rotateKey({ node = DEFAULT_NODE, json }: SecretOptions): Promise<void> {
	const { token } = credentialsOf(node);
	const client = new NodeClient(node, token === undefined ? {} : { token });
	const rotated = await client.json<{ sealed: number; unreadable: number }>("/v1/node/key", {
		method: "POST",
	});
	if (json) console.log(JSON.stringify(rotated));
	else console.log(`${rotated.sealed} secrets are sealed with a new key${left(rotated.unreadable)}`);
}

function left(unreadable: number): string {
	return unreadable === 0 ? "" : `; ${unreadable} did not open with the old one, either: set them again`;
}

/** Never an argument: those can be seen by every user of the machine. */
async function value(file: string | undefined): Promise<string> {
	if (file === undefined || file === "-") return readStdin("the secret");
	try {
		return await readFile(file, "utf8");
	} catch (error) {
		throw systemCode(error) === "ENOENT" ? new CliError(`there is no file ${file}`) : error;
	}
}

/** The parser's messages quote what they do not understand, which may be a key: they are not passed on. */
function table(text: string): unknown {
	try {
		return text.trimStart().startsWith("{") ? JSON.parse(text) : parse(text);
	} catch {
		throw new CliError(
			"the secret is neither TOML nor JSON",
			'write lines as kind = "s3", endpoint = "https://…", region, access_key, secret_key',
		);
	}
}

function target(place: string, { node = DEFAULT_NODE }: SecretOptions): { client: NodeClient; name: string } {
	const [first = "", second] = place.split("/", 2);
	const credentials = credentialsOf(node);
	if (second === undefined) return { client: new NodeClient(node, credentials), name: first };
	return { client: new NodeClient(node, { ...credentials, tenant: first }), name: second };
}

function common(name: string, description: string): Command {
	return new Command(name)
		.description(description)
		.option("--node <url>", "the node's address")
		.option("--json", "print JSON");
}
