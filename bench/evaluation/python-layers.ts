/**
 * The layers of an image with Python: what changes together is together, as images are usually made, and modules come compiled.
 * Debian's packages compile them when they are installed, which is not done here.
 */
import { execFile } from "node:child_process";
import { createReadStream } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import { createZstdDecompress } from "node:zlib";
import { compilePython } from "../../src/cli/deploy/python.ts";
import { addLayer, blobPath, type Layer } from "../../src/cli/image/layout.ts";
import { below, packLayer } from "../../src/cli/image/tar.ts";

export type Part = "libraries" | "interpreter" | "byte code" | "packages";
const PARTS: readonly Part[] = ["libraries", "interpreter", "byte code", "packages"];

/** The layer that a file belongs to, by its path without a leading "/". */
export function partOf(path: string): Part {
	if (path.startsWith("usr/local/")) return "packages";
	if (path.endsWith(".pyc")) return "byte code";
	return /^usr\/(?:lib|bin)\/python3/.test(path) ? "interpreter" : "libraries";
}

/** Puts the files of all layers into new ones, and removes the old. */
export async function pythonLayers(layout: string, layers: readonly Layer[]): Promise<Layer[]> {
	const stage = await mkdtemp(join(tmpdir(), "hsb-python-"));
	try {
		for (const { descriptor } of layers) {
			const blob = blobPath(layout, descriptor.digest);
			await unpack(createReadStream(blob), stage);
			await rm(blob);
		}
		// Packages carry files that no interpreter takes.
		await compilePython(stage, "/").catch(() => undefined);
		const files = await below(stage, "/");
		const made: Layer[] = [];
		for (const part of PARTS) {
			const own = files
				.map(({ path, from }) => ({ path: path.replace(/^\/+/, ""), from }))
				.filter(({ path }) => partOf(path) === part);
			if (own.length > 0) made.push(await addLayer(layout, packLayer(own)));
		}
		return made;
	} finally {
		await rm(stage, { recursive: true, force: true });
	}
}

async function unpack(layer: Readable, folder: string): Promise<void> {
	const unpacking = promisify(execFile)("tar", ["-x", "-C", folder, "--no-same-owner"]);
	const { stdin } = unpacking.child;
	if (stdin !== null) await pipeline(layer, createZstdDecompress(), stdin);
	await unpacking;
}
