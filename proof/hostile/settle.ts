import { readFile } from "node:fs/promises";
import type { BenchNode } from "../../bench/node.ts";
import { NodeClient } from "../../src/cli/client.ts";
import type { Stage } from "./case.ts";

/** Makes the two tenants of a run, each with its token and the store's credentials. */
export async function settle(bench: BenchNode): Promise<{ stage: Stage; neighbour: NodeClient }> {
	const attacker = await tenant(bench, "mallory");
	return { stage: { bench, attacker, tenant: "mallory" }, neighbour: await tenant(bench, "alice") };
}

async function tenant({ node, store }: BenchNode, name: string): Promise<NodeClient> {
	if (node.operatorToken === undefined) throw new Error("the node asks for no tokens");
	const operator = new NodeClient(node.url, { token: (await readFile(node.operatorToken, "utf8")).trim() });
	const { token } = await operator.json<{ token: string }>(`/v1/tenants/${name}`, {
		method: "POST",
		body: "{}",
	});
	const client = new NodeClient(node.url, { token });
	const { endpoint, region, accessKey, secretKey } = store;
	const secret = { kind: "s3", endpoint, region, access_key: accessKey, secret_key: secretKey };
	await client.ask("/v1/secrets/dev-store", { method: "PUT", body: JSON.stringify(secret) });
	return client;
}
