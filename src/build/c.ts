/** C initscripts: clang and wasm-ld, without a libc. */
import { access, readFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { BuildError } from "./error.ts";
import { withScratch } from "./scratch.ts";
import { runTool } from "./tool.ts";

/** Where headstart.h is. */
const SDK = join(import.meta.dirname, "../../initscripts/c");

const FLAGS = [
	"--target=wasm32",
	"-std=c11",
	"-Oz",
	"-ffreestanding",
	"-nostdlib",
	"-mbulk-memory", // memcpy and memset without a libc
	"-Wall",
	"-Wl,--no-entry",
	"-Wl,--strip-debug", // names stay: they make stacks readable
	"-Wl,-z,stack-size=16384",
	`-I${SDK}`,
];

export async function buildC(path: string): Promise<Uint8Array> {
	const file = resolve(path);
	await access(file).catch(() => {
		throw new BuildError(`${path} is not there`);
	});
	return withScratch(async (folder) => {
		const module = join(folder, "initscript.wasm");
		await runTool("clang", [...FLAGS, "-o", module, file], {
			cwd: dirname(file),
			failed: `${path} does not compile:`,
			missing:
				"clang is not installed: C initscripts need the Debian packages clang and lld (apt-get install clang lld)",
		});
		return readFile(module);
	});
}
