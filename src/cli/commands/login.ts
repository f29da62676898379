import { Command } from "commander";
import { DEFAULT_NODE, NodeClient } from "../client.ts";
import { keepToken } from "../credentials.ts";
import { readStdin } from "../stdin.ts";

/** What `GET /v1/node` answers. */
interface NodeInfo {
	access: "development" | "tokens";
	tenant: string | null;
	operator: boolean;
}

/** `headstart login`: keeps a token for a node, for the commands that follow. */
export function loginCommand(): Command {
	return new Command("login")
		.description(
			"Reads a token from standard input, tries it, and keeps it for this user and the node's address",
		)
		.option("--node <url>", "the node's address")
		.option("--json", "print JSON")
		.action(async ({ node = DEFAULT_NODE, json }: { node?: string; json?: true }) => {
			const token = (await readStdin("the token")).trim();
			const info = await new NodeClient(node, { token }).json<NodeInfo>("/v1/node");
			const file = keepToken(node, token);
			const who = info.operator ? "the operator" : `tenant ${info.tenant}`;
			console.log(
				json ? JSON.stringify({ ...info, file }) : `${who} at ${node}; the token is kept in ${file}`,
			);
		});
}
