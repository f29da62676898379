import type { TomlTable } from "smol-toml";
import { type Deployed, deploy } from "../../src/cli/deploy/deploy.ts";
import { merged, staged } from "../stage.ts";
import type { Site } from "./workload.ts";

/**
 * Deploys a folder whose initscript is pushed as an artifact under a name, and so downloaded in a start that has nothing; through the
 * link, unless that is not wanted.
 */
export async function deployWithArtifact(
	{ bench: { client }, images }: Pick<Site, "bench" | "images">,
	folder: string,
	name: string,
	linked = true,
): Promise<Deployed> {
	const artifact = await images.script(folder, name, linked);
	const named = (manifest: TomlTable): TomlTable => merged(manifest, "initscript", { artifact });
	return staged(folder, named, (again) => deploy(again, client));
}
