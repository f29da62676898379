import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { NodeClient } from "../client.ts";
import { deploy } from "../deploy/deploy.ts";
import { until } from "./wait.ts";

const MANIFEST = `name = "slow"
[app]
isolation = "bubblewrap"
command = ["python3", "-m", "headstart.runtime", "function:handler"]
[app.limits]
memory = "128MiB"
timeout = "30s"
`;

/** For tests: deploys a function "slow" that answers "done" after some seconds. `folder` is for its files. */
export async function deploySlow(folder: string, client: NodeClient, seconds: number): Promise<void> {
	const app = join(folder, "slow");
	await mkdir(app, { recursive: true });
	await writeFile(join(app, "headstart.toml"), MANIFEST);
	const source = `import time\n\ndef handler(event):\n    time.sleep(${seconds})\n    return "done"\n`;
	await writeFile(join(app, "function.py"), source);
	await deploy(app, client);
}

/** The id of the one instance that runs, once there is one. */
export function running(client: NodeClient): Promise<string> {
	return until("an instance", 10_000, async () => {
		const { instances } = await client.json<{ instances: { id: string; state: string }[] }>("/v1/instances");
		return instances.find(({ state }) => state === "running")?.id;
	});
}
