import { Command } from "commander";
import { failure, NodeClient } from "../client.ts";
import { interruption } from "../interrupt.ts";
import { plainLine } from "../plain.ts";

/** `headstart logs`: the structured lines of instances, initscripts, runner and bridge. */
export function logsCommand(): Command {
	return new Command("logs")
		.description("Prints what instances, initscripts and the node logged")
		.option("-f, --follow", "go on with lines as they come")
		.option("-i, --instance <id>", "only this instance's")
		.option("--node <url>", "the node's address")
		.option("--json", "print the lines as they are: one JSON object each")
		.action(async (options: { follow?: true; instance?: string; node?: string; json?: true }) => {
			const query = new URLSearchParams();
			if (options.follow) query.set("follow", "1");
			if (options.instance) query.set("instance", options.instance);
			const answer = await new NodeClient(options.node).open(`/v1/logs?${query}`, { signal: interruption() });
			if (answer.status >= 400) throw await failure(answer);
			for await (const line of lines(answer)) console.log(options.json ? line : readable(line));
		});
}

/** The lines of a streamed answer. */
async function* lines(answer: Response): AsyncGenerator<string> {
	let rest = "";
	for await (const chunk of answer.body?.pipeThrough(new TextDecoderStream()) ?? []) {
		const parts = (rest + chunk).split("\n");
		rest = parts.pop() ?? "";
		yield* parts.filter((part) => part !== "");
	}
	if (rest) yield rest;
}

/** A JSON line for people; any other line as it is, as far as a terminal may have it. */
export function readable(line: string): string {
	return plainLine(joined(line));
}

function joined(line: string): string {
	let record: unknown;
	try {
		record = JSON.parse(line);
	} catch {
		return line;
	}
	if (typeof record !== "object" || record === null) return line;
	const {
		timestamp,
		time,
		at: _,
		level,
		target: __,
		instance,
		source,
		stream,
		text,
		fields,
		...rest
	} = record as Record<string, unknown>;
	const inner = typeof fields === "object" && fields !== null ? (fields as Record<string, unknown>) : {};
	const { message, ...more } = { ...rest, ...inner };
	const when = timestamp ?? (typeof time === "number" ? new Date(time).toISOString() : time);
	const values = Object.entries(more).map(([key, value]) =>
		typeof value === "string" ? `${key}=${value}` : `${key}=${JSON.stringify(value)}`,
	);
	return [when, level, source, stream, instance, text ?? message, ...values]
		.filter((part) => part !== undefined && part !== "")
		.join(" ");
}
