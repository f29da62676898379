import { rm } from "node:fs/promises";
import { join } from "node:path";
import { command } from "../command.ts";
import { root, Stamp } from "../stamp.ts";
import type { Step } from "../step.ts";

const MOTO = ".headstart/moto";
const REQUIREMENTS = "setup/servers/requirements.txt";
const installed = new Stamp("moto", [REQUIREMENTS], [`${MOTO}/moto`]);

/** moto, whose server stands for SQS in the tests. */
export const moto: Step = {
	name: "SQS for tests",
	cost: { downloadMb: 35, diskMb: 140, minutes: 0.5 },
	done: () => installed.fresh(),
	async run() {
		await rm(join(root, MOTO), { recursive: true, force: true });
		const quiet = ["--quiet", "--disable-pip-version-check", "--root-user-action=ignore"];
		const what = ["--target", MOTO, "-r", REQUIREMENTS];
		await command(this.name, "/usr/bin/python3", ["-m", "pip", "install", ...quiet, ...what]);
		await installed.set();
	},
};
