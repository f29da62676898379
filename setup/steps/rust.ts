import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { command } from "../command.ts";
import { root, Stamp } from "../stamp.ts";
import { SetupError, type Step } from "../step.ts";

const PACKAGES = ["native-bridge", "headstart-store", "headstart-link"];
const stamp = new Stamp(
	"rust",
	["Cargo.toml", "Cargo.lock", "native-bridge", "dev", "schema", "setup/steps/rust.ts"],
	PACKAGES.map((name) => `target/release/${name}`),
);

/**
 * Cargo's environment. rustup installs beside PATH, and its cargo takes the first rustc there is: that must not be Debian's, which
 * is there for initscripts.
 */
export const cargoEnv = {
	...process.env,
	PATH: [join(process.env.CARGO_HOME ?? join(homedir(), ".cargo"), "bin"), process.env.PATH].join(delimiter),
};

export const rust: Step = {
	name: "Rust programs",
	cost: { downloadMb: 60, diskMb: 900, minutes: 5 },
	done: () => stamp.fresh(),
	async check() {
		return judgeCargo(await describeCargo(), await wantedRust());
	},
	async run() {
		const options = { env: cargoEnv, minutes: 60 };
		const host = /^host: (\S+)$/m.exec((await describeCargo()) ?? "")?.[1];
		if (host === undefined) throw new SetupError("`cargo -vV` names no host");
		// All crates of the lock file, those of the tests too: after this nothing needs a network.
		await command("Rust crates", "cargo", ["fetch", "--locked", "--target", host], options);
		const build = ["build", "--release", "--frozen", ...PACKAGES.flatMap((name) => ["-p", name])];
		await command(this.name, "cargo", build, options);
		await stamp.set();
	},
};

/** What `cargo -vV` prints; undefined: there is none, or it does not run. */
async function describeCargo(): Promise<string | undefined> {
	try {
		return (await promisify(execFile)("cargo", ["-vV"], { env: cargoEnv, cwd: root })).stdout;
	} catch {
		return undefined;
	}
}

/** The oldest Rust that does: `rust-version` of Cargo.toml, "1.92". */
async function wantedRust(): Promise<string> {
	const manifest = await readFile(join(root, "Cargo.toml"), "utf8");
	return /^rust-version = "(\d+\.\d+)"$/m.exec(manifest)?.[1] ?? "1.92";
}

/** What to do about a cargo that prints this, where Rust `wanted` ("1.92") is needed. */
export function judgeCargo(output: string | undefined, wanted: string): string[] {
	const mend = `install Rust ${wanted} or newer from https://rustup.rs (Debian's is older)`;
	const [, major, minor] = /^cargo (\d+)\.(\d+)/.exec(output ?? "") ?? [];
	if (major === undefined || minor === undefined) return [`cargo is not there: ${mend}`];
	const [wantedMajor = 0, wantedMinor = 0] = wanted.split(".").map(Number);
	const old = Number(major) < wantedMajor || (Number(major) === wantedMajor && Number(minor) < wantedMinor);
	return old ? [`cargo ${major}.${minor} is too old: ${mend}; with rustup: rustup update stable`] : [];
}
