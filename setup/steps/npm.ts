import { existsSync } from "node:fs";
import { join } from "node:path";
import { findProgram } from "../../src/cli/find-program.ts";
import { command } from "../command.ts";
import { root, Stamp } from "../stamp.ts";
import type { Step } from "../step.ts";

/** Written by npm when it has finished. */
const INSTALLED = "node_modules/.package-lock.json";
const stamp = new Stamp(
	"npm",
	["package.json", "package-lock.json"],
	[INSTALLED, "node_modules/wrangler/package.json"],
);

export const npm: Step = {
	name: "npm packages",
	cost: { downloadMb: 250, diskMb: 1050, minutes: 1 },
	async done() {
		// The first run on a machine with an old Node installs them before this one can start (with-node.sh).
		if (process.env.HEADSTART_NPM_INSTALLED === "1" && existsSync(join(root, INSTALLED))) await stamp.set();
		return stamp.fresh();
	},
	check: async () =>
		findProgram("npm") === undefined ? ["npm is not there: install it with `apt-get install npm`"] : [],
	async run() {
		await command(this.name, "npm", [
			"install",
			"--no-save", // not `ci`: it fails where a registry lacks an optional package for a foreign platform
			"--ignore-scripts",
			"--no-audit",
			"--no-fund",
			"--loglevel=error",
		]);
		await stamp.set();
	},
};
