import { readFile } from "node:fs/promises";
import { Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { Command } from "commander";
import { failure, NodeClient } from "../client.ts";
import { CliError, systemCode } from "../errors.ts";
import { interruption } from "../interrupt.ts";

interface InvokeOptions {
	cold?: true;
	coldImage?: true;
	initscript: boolean;
	direct?: true;
	onlyInitscript?: true;
	data?: string;
	file?: string;
	node?: string;
	json?: true;
}

/** `headstart invoke NAME`: the function's answer on stdout; which instance gave it, and how fast, on stderr. Ctrl-C cancels it. */
export function invokeCommand(): Command {
	return new Command("invoke")
		.description("Invokes a function and prints its answer")
		.argument("<name>")
		.option("--cold", "in a fresh instance, which ends afterwards")
		.option(
			"--cold-image",
			"the same, and the node drops the function's image and its initscript's artifact before",
		)
		.option("--no-initscript", "start the application without its initscript")
		.option("--direct", "without headstart: the application's library uses its own client and credentials")
		.option("--only-initscript", "run the initscript without the application")
		.option("-d, --data <json>", "the event")
		.option("-f, --file <path>", "read the event from a file; - is stdin")
		.option("--node <url>", "the node's address")
		.option("--json", "print one JSON object: status, instance, timing and answer")
		.action(invoke);
}

async function invoke(name: string, options: InvokeOptions): Promise<void> {
	const body = await event(options);
	const client = new NodeClient(options.node);
	const path = `/v1/functions/${encodeURIComponent(name)}/invocations${query(options)}`;
	const answer = await client.open(path, {
		method: "POST",
		body,
		signal: interruption(),
		headers: { "content-type": "application/json", "x-headstart-sent": String(process.hrtime.bigint()) },
	});
	const instance = answer.headers.get("x-headstart-instance") ?? undefined;
	const timing = answer.headers.get("server-timing") ?? undefined;
	if (options.json) {
		const text = await answer.text();
		console.log(JSON.stringify({ status: answer.status, instance, timing, answer: parsed(text) }));
		if (answer.status >= 400) process.exitCode = 1;
		return;
	}
	if (answer.status >= 400) throw await failure(answer);
	const output = new Writable({
		write: (chunk, encoding, done) => void process.stdout.write(chunk, encoding, done),
	});
	if (answer.body) await pipeline(answer.body, output);
	if (process.stdout.isTTY) process.stdout.write("\n");
	process.stderr.write(`${[instance, timing].filter(Boolean).join("  ")}\n`);
}

async function event({ data, file }: InvokeOptions): Promise<Buffer> {
	if (data !== undefined && file !== undefined) throw new CliError("--data and --file exclude each other");
	if (file === undefined) return Buffer.from(data ?? "{}");
	try {
		return await readFile(file === "-" ? "/dev/stdin" : file);
	} catch (error) {
		throw systemCode(error) === "ENOENT" ? new CliError(`there is no file ${file}`) : error;
	}
}

function query({ cold, coldImage, initscript, direct, onlyInitscript }: InvokeOptions): string {
	const query = new URLSearchParams();
	if (coldImage) query.set("cold", "image");
	else if (cold) query.set("cold", "1");
	if (direct) query.set("mode", "direct");
	else if (!initscript) query.set("mode", "noInitscript");
	if (onlyInitscript) query.set("only", "initscript");
	return query.size > 0 ? `?${query}` : "";
}

/** The JSON value, or the text where it is none. */
function parsed(text: string): unknown {
	try {
		return JSON.parse(text);
	} catch {
		return text;
	}
}
