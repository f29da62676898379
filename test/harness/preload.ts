import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "smol-toml";
import { deploy } from "../../src/cli/deploy/deploy.ts";
import type { TestNode } from "./node.ts";
import type { Isolation } from "./probe.ts";

const folderOf = join(import.meta.dirname, "../functions/preload");

/** Deploys test/functions/preload as `isolation`; its programs' connections to `addresses` are the initscript's. */
export async function deployPreload(
	{ client }: TestNode,
	isolation: Isolation,
	addresses: string[],
): Promise<void> {
	const folder = await mkdtemp(join(tmpdir(), "hst-preload-"));
	try {
		await cp(folderOf, folder, { recursive: true });
		const manifest = {
			name: isolation,
			app: {
				isolation,
				command: ["python3", "-m", "headstart.runtime", "function:handler"],
				preload: addresses,
				limits: { memory: "256MiB", timeout: "20s" },
			},
			initscript: { main: "initscript.ts" },
			egress: { allow: addresses },
		};
		await writeFile(join(folder, "headstart.toml"), stringify(manifest));
		await deploy(folder, client);
	} finally {
		await rm(folder, { recursive: true });
	}
}
