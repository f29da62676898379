/** Rust initscripts: one file and the SDK, by a rustc that has the target. */
import { execFile } from "node:child_process";
import { access, readFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { promisify } from "node:util";
import { BuildError } from "./error.ts";
import { withScratch } from "./scratch.ts";
import { runTool } from "./tool.ts";

const run = promisify(execFile);

/** Where headstart.rs is. */
const SDK = join(import.meta.dirname, "../../initscripts/rust");
const TARGET = "wasm32-unknown-unknown";

/** The one on the PATH, and Debian's. */
const COMPILERS = ["rustc", "/usr/bin/rustc"];

const MISSING =
	"Rust initscripts need a rustc with the target wasm32-unknown-unknown: apt-get install rustc libstd-rust-dev-wasm32, or rustup target add wasm32-unknown-unknown";

const COMPILE = [
	"--edition=2021",
	`--target=${TARGET}`,
	"-Copt-level=z",
	"-Cpanic=abort",
	"-Ctarget-feature=+bulk-memory",
	"-Ccodegen-units=1",
	"--color=never",
];

const LINK = [
	"--crate-type=cdylib",
	"--crate-name=initscript",
	"-Clto=fat",
	"-Cstrip=debuginfo", // names stay: they make stacks readable
	"-Clink-arg=-zstack-size=65536",
];

export async function buildRust(path: string, compilers: readonly string[] = COMPILERS): Promise<Uint8Array> {
	const file = resolve(path);
	await access(file).catch(() => {
		throw new BuildError(`${path} is not there`);
	});
	const rustc = await findCompiler(compilers);
	if (rustc === undefined) throw new BuildError(MISSING);
	return withScratch(async (folder) => {
		const library = join(folder, "libheadstart.rlib");
		const module = join(folder, "initscript.wasm");
		await runTool(
			rustc,
			[...COMPILE, "--crate-type=rlib", "--crate-name=headstart", "-o", library, "headstart.rs"],
			{
				cwd: SDK,
				failed: "the SDK for Rust does not compile:",
				missing: MISSING,
			},
		);
		await runTool(
			rustc,
			[...COMPILE, ...LINK, `--extern=headstart=${library}`, "-o", module, basename(file)],
			{ cwd: dirname(file), failed: `${path} does not compile:`, missing: MISSING },
		);
		return readFile(module);
	});
}

/** The first compiler that can make WebAssembly. */
async function findCompiler(compilers: readonly string[]): Promise<string | undefined> {
	for (const rustc of compilers) {
		try {
			const { stdout } = await run(rustc, ["--print", "target-libdir", "--target", TARGET]);
			await access(stdout.trim());
			return rustc;
		} catch {
			// Not there, or without the target: the next one.
		}
	}
	return undefined;
}
