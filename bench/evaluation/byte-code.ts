/** Python's byte code for an image: Debian's packages compile their modules when they are installed, which is not done here. */
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { compilePython } from "../../src/cli/deploy/python.ts";
import { addLayer, blobPath, type Layer } from "../../src/cli/image/layout.ts";
import { below, packLayer } from "../../src/cli/image/tar.ts";

/** Where modules lie in an archive. */
const MODULES = ["*usr/lib/python3*", "*usr/local/lib/python3*"];

/** Adds a layer with the byte code of all modules of the layers before it. */
export async function byteCode(layout: string, layers: readonly Layer[]): Promise<Layer> {
	const stage = await mkdtemp(join(tmpdir(), "hsb-pyc-"));
	try {
		for (const { descriptor } of layers) await unpack(blobPath(layout, descriptor.digest), stage);
		// Packages carry files that no interpreter takes.
		await compilePython(stage, "/").catch(() => undefined);
		const all = await below(stage, "/");
		return await addLayer(layout, packLayer(all.filter(({ path }) => path.endsWith(".pyc"))));
	} finally {
		await rm(stage, { recursive: true, force: true });
	}
}

/** What of an archive is Python's. */
async function unpack(archive: string, stage: string): Promise<void> {
	const args = ["-xzf", archive, "-C", stage, "--no-same-owner", "--wildcards", ...MODULES];
	await promisify(execFile)("tar", args).catch((error: Error) => {
		// That a layer has none is none of its faults.
		if (!error.message.includes("Not found in archive")) throw error;
	});
}
