import { copyFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { command } from "../command.ts";
import { root, Stamp } from "../stamp.ts";
import type { Step } from "../step.ts";
import { cargoEnv } from "./rust.ts";

const APPS = ["cached", "vecdb"];

const program = (name: string): string => `apps/${name}/service/bin/${name}`;

const stamp = new Stamp(
	"apps",
	[
		...["serving", ...APPS].flatMap((name) => [`apps/${name}/src`, `apps/${name}/Cargo.toml`]),
		"clients/rust",
		"Cargo.toml",
		"Cargo.lock",
		"setup/steps/apps.ts",
	],
	APPS.map(program),
);

/** The example servers in Rust, in the folders that are deployed. */
export const apps: Step = {
	name: "example servers",
	cost: { downloadMb: 0, diskMb: 40, minutes: 0.5 },
	done: () => stamp.fresh(),
	async run() {
		const build = ["build", "--release", "--frozen", ...APPS.flatMap((name) => ["-p", name])];
		await command(this.name, "cargo", build, { env: cargoEnv, minutes: 30 });
		for (const name of APPS) {
			await mkdir(join(root, `apps/${name}/service/bin`), { recursive: true });
			await copyFile(join(root, `target/release/${name}`), join(root, program(name)));
		}
		await stamp.set();
	},
};
