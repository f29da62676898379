/** AssemblyScript initscripts. The compiler runs in a process of its own: it is large, and ends its process when it fails. */
import { readFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { withScratch } from "./scratch.ts";
import { runTool } from "./tool.ts";

export function buildAssemblyScript(path: string): Promise<Uint8Array> {
	const file = resolve(path);
	return withScratch(async (folder) => {
		const module = join(folder, "initscript.wasm");
		await runTool(process.execPath, [join(import.meta.dirname, "assemblyscript-compiler.ts"), file, module], {
			cwd: dirname(file),
			failed: `${path} does not compile:`,
			missing: `${process.execPath} is not there any more`,
		});
		return readFile(module);
	});
}
