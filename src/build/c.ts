/** C initscripts: clang and wasm-ld, without a libc. */
import { access, readFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { BuildError } from "./error.ts";
import { withScratch } from "./scratch.ts";
import { runTool } from "./tool.ts";

/** Where headstart.h is. */
const SDK = join(import.meta.dirname, "../../initscripts/c");

const COMPILE = [
	"--target=wasm32",
	"-std=c11",
	"-Oz",
	"-ffreestanding",
	"-mbulk-memory", // memcpy and memset without a libc
	"-Wall",
	`-I${SDK}`,
	"-c",
];

/** The linker itself, not clang: that would run a `wasm-opt` where one is on the PATH, and the module would be another. */
const LINK = [
	"--no-entry",
	"--strip-debug", // names stay: they make stacks readable
	"-z",
	"stack-size=16384",
];

const MISSING = "C initscripts need the Debian packages clang and lld (apt-get install clang lld)";

export async function buildC(path: string): Promise<Uint8Array> {
	const file = resolve(path);
	await access(file).catch(() => {
		throw new BuildError(`${path} is not there`);
	});
	return withScratch(async (folder) => {
		const object = join(folder, "initscript.o");
		const module = join(folder, "initscript.wasm");
		const options = { cwd: dirname(file), failed: `${path} does not compile:` };
		await runTool("clang", [...COMPILE, "-o", object, file], {
			...options,
			missing: `clang is not installed: ${MISSING}`,
		});
		await runTool("wasm-ld", [...LINK, "-o", module, object], {
			...options,
			missing: `wasm-ld is not installed: ${MISSING}`,
		});
		return readFile(module);
	});
}
