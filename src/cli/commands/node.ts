import { Command } from "commander";
import { parseBytes } from "../../shared/units.ts";
import { CliError } from "../errors.ts";
import type { AllowPrivate, BridgeImages } from "../node/bridge-config.ts";
import { type RunningNode, startNode } from "../node/node.ts";
import { runUntilSignal } from "../node/signals.ts";
import { plainLine } from "../plain.ts";

export interface NodeCommandOptions {
	run: string;
	state: string;
	port: string;
	devStore?: true;
	link?: string;
	dev?: true;
	registry?: string[];
	plainRegistry?: string[];
	imageBytes?: string;
	allowPrivate?: true | string;
	json?: true;
}

/** `headstart node`: a self-hosted node in the foreground. */
export function nodeCommand(): Command {
	return withNodeOptions(new Command("node"))
		.description("Runs a node: the native bridge with its runner, and the host in workerd")
		.option("--dev", "for development: answer requests without a token, as the operator's")
		.option(
			"--allow-private [networks]",
			"let functions reach the machine's own networks: addresses that they spell, or 10.1.0.0/16,… by any name",
		)
		.option(
			"--registry <hosts...>",
			"registries that images of applications may come from (host or host:port)",
		)
		.option("--plain-registry <hosts...>", "the same, of registries without TLS")
		.option("--image-bytes <size>", "how much of images is kept (20GiB)")
		.action(async (options: NodeCommandOptions) => {
			await runUntilSignal(async () => {
				const development = options.dev === true;
				const settings = {
					...nodeOptions(options),
					...allowed(options.allowPrivate),
					...images(options),
					development,
				};
				const node = await startNode({ ...settings, sink: print });
				console.log(options.json ? readyJson(node) : `headstart node: ${readyText(node)}`);
				return node;
			});
		});
}

/** The options that `node` and `dev` share. */
export function withNodeOptions(command: Command): Command {
	return command
		.option("--run <dir>", "sockets and configuration", "/run/headstart")
		.option("--state <dir>", "what survives a restart", "/var/lib/headstart")
		.option("--port <number>", "port of the HTTP API on 127.0.0.1", "8787")
		.option("--dev-store", "run an S3 store for development over the example data")
		.option("--link <profile>", "with --dev-store: put a link before it that is as slow as S3 (s3)")
		.option("--json", "print one JSON object when the node is ready: url, pid, run, state, access");
}

function allowed(given: true | string | undefined): { allowPrivate?: AllowPrivate } {
	if (given === undefined) return {};
	return { allowPrivate: given === true ? true : given.split(",").map((network) => network.trim()) };
}

function images({ registry = [], plainRegistry = [], imageBytes }: NodeCommandOptions): {
	images?: BridgeImages;
} {
	const registries = [
		...registry.map((host) => ({ host })),
		...plainRegistry.map((host) => ({ host, plain: true })),
	];
	const bytes = imageBytes === undefined ? undefined : parseBytes(imageBytes);
	if (imageBytes !== undefined && bytes === undefined)
		throw new CliError(`--image-bytes ${imageBytes} is no size`);
	if (registries.length === 0) return {};
	return { images: { registries, ...(bytes === undefined ? {} : { bytes }) } };
}

/** What `--json` prints when the node is ready. */
export function readyJson({ url, run, state, operatorToken }: RunningNode): string {
	const access =
		operatorToken === undefined ? { access: "development" } : { access: "tokens", operatorToken };
	return JSON.stringify({ url, pid: process.pid, run, state, ...access });
}

/** Where the node is, and what it wants of its callers. */
export function readyText({ url, operatorToken }: RunningNode): string {
	return operatorToken === undefined
		? `${url} (development: whoever reaches it needs no token)`
		: `${url} (the operator's token is in ${operatorToken})`;
}

/** Checks what the command line gave. */
export function nodeOptions(options: NodeCommandOptions): {
	run: string;
	state: string;
	port: number;
	devStore?: "plain" | "s3";
} {
	const port = Number(options.port);
	if (!Number.isInteger(port) || port < 0 || port > 65_535)
		throw new CliError(`--port ${options.port} is no port`);
	if (options.link !== undefined && (options.link !== "s3" || !options.devStore)) {
		throw new CliError("--link takes s3, and needs --dev-store");
	}
	return {
		run: options.run,
		state: options.state,
		port,
		...(options.devStore ? { devStore: options.link === undefined ? "plain" : "s3" } : {}),
	};
}

/** Lines of the node's programs on stderr. */
export function print(from: string, line: string): void {
	process.stderr.write(`${from}: ${plainLine(line)}\n`);
}
