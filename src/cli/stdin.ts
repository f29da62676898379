import { CliError } from "./errors.ts";

/** All of standard input as text, at most 1 MB. Throws when it is a terminal: what is typed there would be seen. */
export async function readStdin(what: string): Promise<string> {
	if (process.stdin.isTTY)
		throw new CliError(`${what} is read from standard input`, "pipe it in, as `< file`");
	let text = "";
	process.stdin.setEncoding("utf8");
	for await (const piece of process.stdin) {
		text += piece;
		if (text.length > 1e6) throw new CliError(`${what} is too long`);
	}
	return text;
}
