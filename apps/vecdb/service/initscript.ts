// Asks the coordinator which shards are this server's and gets them from a cache, while the server's sandbox is being set up.
import { connect, expect, inputJson, readReply, recvRpcReply, sendReply, sendRpc } from "headstart";
import { memcachedGet } from "headstart/protocols";

export default async function main(): Promise<void> {
	expect(1);
	const { assignment } = inputJson<{ assignment: string }>();
	const [, origin = "", path = ""] = /^(http:\/\/[^/]+)(\/.*)$/.exec(assignment) ?? [];
	const coordinator = connect(origin);
	const asked = `GET ${assignment}`;
	sendRpc(coordinator, asked, `GET ${path}\n\n`);
	await recvRpcReply(coordinator, asked);
	const answer = new TextDecoder().decode(await readReply(asked, 0));
	for (const shard of (JSON.parse(answer) as { shards: string[] }).shards) {
		const [, cache = "", key = ""] = /^(memcached:\/\/[^/]+)\/(.+)$/.exec(shard) ?? [];
		sendRpc(connect(cache), `MG ${shard}`, memcachedGet(key));
		sendReply(`MG ${shard}`, `MG ${shard}`);
	}
	// Comes last: when the server has the assignment, all shards are there for it to claim.
	sendReply(asked, asked);
}
