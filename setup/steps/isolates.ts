import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { command } from "../command.ts";
import { root, Stamp } from "../stamp.ts";
import type { Step } from "../step.ts";

const APP = "apps/imgrec-wasm";
const ENGINE = `${APP}/node_modules/onnxruntime-web/dist`;
/** Of the engine's many builds, what an isolate runs. */
const NEEDED = ["ort-wasm-simd-threaded.wasm", "ort.wasm.bundle.min.mjs"];

const stamp = new Stamp(
	"isolates",
	[`${APP}/package.json`, `${APP}/package-lock.json`, "setup/steps/isolates.ts"],
	NEEDED.map((name) => `${ENGINE}/${name}`),
);

/** The inference engine of the example application in an isolate. */
export const isolates: Step = {
	name: "WebAssembly engine",
	cost: { downloadMb: 30, diskMb: 25, minutes: 0.2 },
	done: () => stamp.fresh(),
	async run() {
		const how = ["install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
		await command(this.name, "npm", how, { cwd: join(root, APP) });
		for (const name of await readdir(join(root, ENGINE)))
			if (!NEEDED.includes(name)) await rm(join(root, ENGINE, name), { recursive: true, force: true });
		await stamp.set();
	},
};
