// Asks the coordinator which shards are this server's and fetches them, while the server's sandbox is being set up.
import { connect, expect, inputJson, readReply, recvRpcReply, sendReply, sendRpc } from "headstart";

export default async function main(): Promise<void> {
	expect(1);
	const { assignment } = inputJson<{ assignment: string }>();
	const coordinator = get(assignment);
	await recvRpcReply(coordinator, `GET ${assignment}`);
	const answer = new TextDecoder().decode(await readReply(`GET ${assignment}`, 0));
	for (const shard of (JSON.parse(answer) as { shards: string[] }).shards) {
		get(shard);
		sendReply(`GET ${shard}`, `GET ${shard}`);
	}
	// Comes last: when the server has the assignment, all shards are there for it to claim.
	sendReply(`GET ${assignment}`, `GET ${assignment}`);
}

/** Sends a GET on a connection to its server, which it gives. */
function get(url: string): number {
	const [, origin = "", path = ""] = /^(http:\/\/[^/]+)(\/.*)$/.exec(url) ?? [];
	const server = connect(origin);
	sendRpc(server, `GET ${url}`, `GET ${path}\n\n`);
	return server;
}
