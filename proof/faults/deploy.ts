import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { NodeClient } from "../../src/cli/client.ts";
import { deploy } from "../../src/cli/deploy/deploy.ts";
import type { Isolation } from "./cells.ts";
import type { Gate } from "./gate.ts";

const steps = join(import.meta.dirname, "../functions/steps");

/** Deploys proof/functions/steps, named after its sandbox; it may speak to the gate. */
export async function deploySteps(client: NodeClient, isolation: Isolation, gate: Gate): Promise<void> {
	const folder = await mkdtemp(join(tmpdir(), "hsf-"));
	try {
		await cp(steps, folder, { recursive: true });
		const path = join(folder, "headstart.toml");
		const manifest = (await readFile(path, "utf8"))
			.replace('name = "steps"', `name = "${isolation}"`)
			.replace("http://gate", gate.url)
			.replace("tcp://echo", gate.echo.replace(/\?.*/, ""))
			.replace("[app]\n", `[app]\nisolation = "${isolation}"\n`);
		await writeFile(path, manifest);
		await deploy(folder, client);
	} finally {
		await rm(folder, { recursive: true });
	}
}
