import { copyFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { command } from "../command.ts";
import { root, Stamp } from "../stamp.ts";
import type { Step } from "../step.ts";
import { cargoEnv } from "./rust.ts";

/** Crates. */
const CRATES = ["cached", "vecdb", "restoring"];

/** Where each program belongs. */
const PROGRAMS: Readonly<Record<string, string>> = {
	cached: "apps/cached/service/bin/cached",
	vecdb: "apps/vecdb/service/bin/vecdb",
	"memcached-shim": "apps/memcached/service/bin/memcached-shim",
	"etcd-shim": "apps/etcd/service/bin/etcd-shim",
};

const stamp = new Stamp(
	"apps",
	[
		...["serving", ...CRATES].flatMap((name) => [`apps/${name}/src`, `apps/${name}/Cargo.toml`]),
		"clients/rust",
		"Cargo.toml",
		"Cargo.lock",
		"setup/steps/apps.ts",
	],
	Object.values(PROGRAMS),
);

/** The example servers in Rust, in the folders that are deployed. */
export const apps: Step = {
	name: "example servers",
	cost: { downloadMb: 0, diskMb: 40, minutes: 0.5 },
	done: () => stamp.fresh(),
	async run() {
		const build = ["build", "--release", "--frozen", ...CRATES.flatMap((name) => ["-p", name])];
		await command(this.name, "cargo", build, { env: cargoEnv, minutes: 30 });
		for (const [name, path] of Object.entries(PROGRAMS)) {
			await mkdir(join(root, path, ".."), { recursive: true });
			await copyFile(join(root, `target/release/${name}`), join(root, path));
		}
		await stamp.set();
	},
};
