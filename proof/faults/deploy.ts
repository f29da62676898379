import { join } from "node:path";
import type { TomlTable } from "smol-toml";
import { merged, staged } from "../../bench/stage.ts";
import type { NodeClient } from "../../src/cli/client.ts";
import { deploy } from "../../src/cli/deploy/deploy.ts";
import type { Isolation } from "./cells.ts";
import type { Gate } from "./gate.ts";

const steps = join(import.meta.dirname, "../functions/steps");

/** Deploys proof/functions/steps, named after its sandbox; it may speak to the gate. */
export async function deploySteps(client: NodeClient, isolation: Isolation, gate: Gate): Promise<void> {
	const allow = ["GET s3://inputs/*", `GET ${gate.url}/*`, gate.echo.replace(/\?.*/, "")];
	const change = (manifest: TomlTable): TomlTable =>
		merged({ ...manifest, name: isolation, egress: { allow } }, "app", { isolation });
	await staged(steps, change, (folder) => deploy(folder, client));
}
