import { execFile } from "node:child_process";
import { copyFile, mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { command } from "../command.ts";
import { root, Stamp } from "../stamp.ts";
import type { Step } from "../step.ts";

const PYTHON = "/usr/bin/python3";
const MAKE = ["setup/assets/build.py", "--out", ".headstart/assets"];

/** The example application's packages, model and photos. */
export const assets: Step = {
	name: "model and photos",
	cost: { downloadMb: 110, diskMb: 175, minutes: 1.5 },
	async done() {
		try {
			const { stdout } = await promisify(execFile)(PYTHON, [...MAKE, "--describe"], { cwd: root });
			return JSON.parse(stdout).done === true;
		} catch {
			return false;
		}
	},
	run() {
		return command(this.name, PYTHON, MAKE);
	},
};

const seeded = new Stamp(
	"seed",
	["setup/assets", "setup/steps/assets.ts"],
	[
		".headstart/store/models/efficientnet-lite0.onnx",
		".headstart/store/inputs/chelsea.png",
		".headstart/store/results",
	],
);

/** The development store's buckets: models and inputs with what was just made, results empty. */
export const seed: Step = {
	name: "development store",
	cost: { downloadMb: 0, diskMb: 30, minutes: 0.1 },
	done: () => seeded.fresh(),
	async run() {
		const store = join(root, ".headstart/store");
		await mkdir(join(store, "results"), { recursive: true });
		for (const bucket of ["models", "inputs"]) {
			const from = join(root, ".headstart/assets", bucket);
			await mkdir(join(store, bucket), { recursive: true });
			for (const name of await readdir(from)) await copyFile(join(from, name), join(store, bucket, name));
		}
		await seeded.set();
	},
};
