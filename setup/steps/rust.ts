import { execFile } from "node:child_process";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { command } from "../command.ts";
import { Stamp } from "../stamp.ts";
import { SetupError, type Step } from "../step.ts";

const run = promisify(execFile);
const PACKAGES = ["native-bridge", "headstart-store", "headstart-link"];
const stamp = new Stamp(
	"rust",
	["Cargo.toml", "Cargo.lock", "native-bridge", "dev", "schema"],
	PACKAGES.map((name) => `target/release/${name}`),
);

/** Cargo's environment: rustup installs beside PATH. */
export const cargoEnv = {
	...process.env,
	PATH: [process.env.PATH, join(homedir(), ".cargo/bin")].join(delimiter),
};

export const rust: Step = {
	name: "Rust programs",
	cost: { downloadMb: 60, diskMb: 900, minutes: 5 },
	done: () => stamp.fresh(),
	async run() {
		await needCargo();
		const build = ["build", "--release", "--locked", ...PACKAGES.flatMap((name) => ["-p", name])];
		await command(this.name, "cargo", build, { env: cargoEnv });
		await stamp.set();
	},
};

async function needCargo(): Promise<void> {
	const mend = "install Rust 1.92 or newer from https://rustup.rs, then run this again";
	let version: string;
	try {
		version = (await run("cargo", ["--version"], { env: cargoEnv })).stdout;
	} catch {
		throw new SetupError(`cargo is not installed: ${mend}`);
	}
	const [, minor] = /1\.(\d+)/.exec(version) ?? [];
	if (Number(minor) < 92) throw new SetupError(`${version.trim()} is too old: ${mend}`);
}
