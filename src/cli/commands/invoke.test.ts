import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { NodeClient } from "../client.ts";
import { startNode } from "../node/node.ts";
import { deploySlow, running } from "../node/slow-function.ts";
import { until } from "../node/wait.ts";
import { inRoot } from "../paths.ts";

test("Ctrl-C cancels the invocation: its instance ends", { timeout: 60_000 }, async () => {
	const folder = await mkdtemp(join(tmpdir(), "hs-invoke-"));
	const [run, state] = [join(folder, "run"), join(folder, "state")];
	const node = await startNode({ run, state, port: 0, development: true, sink: () => undefined });
	try {
		const client = new NodeClient(node.url);
		await deploySlow(folder, client, 20);
		const args = ["invoke", "slow", "--node", node.url];
		const child = spawn(inRoot("bin/headstart"), args, { stdio: "ignore" });
		const instance = await running(client);
		child.kill("SIGINT");
		expect(await once(child, "exit")).toEqual([130, null]);
		await until("the end of the instance", 5_000, async () => {
			const { state } = await client.json<{ state: string }>(`/v1/instances/${instance}`);
			return state === "failed" || undefined;
		});
	} finally {
		await node.stop();
		await rm(folder, { recursive: true, force: true });
	}
});
