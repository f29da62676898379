import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { buildIsolate } from "../../build/isolate.ts";
import { findFiles } from "./files.ts";
import { type Bundle, packBundle } from "./tar.ts";

/**
 * Packs an isolate: what its main module is built into, and nothing else of its folder. Without a main module the bundle is
 * empty, since an image has it. `use` gets the bundle's file, which is removed when it returns.
 */
export async function withModules<T>(
	folder: string,
	main: string | undefined,
	use: (bundle: Bundle) => Promise<T>,
): Promise<T> {
	const work = await mkdtemp(join(tmpdir(), "headstart-bundle-"));
	try {
		const modules = join(work, "modules");
		if (main !== undefined) await buildIsolate(resolve(folder, main), modules);
		const files = main === undefined ? [] : await findFiles(modules, () => true);
		return await use(await packBundle(files, join(work, "bundle.tar")));
	} finally {
		await rm(work, { recursive: true, force: true });
	}
}
