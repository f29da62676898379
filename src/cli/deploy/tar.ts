import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import tar from "tar-stream";
import type { FoundFile } from "./files.ts";

/** A tar file, and the hex SHA-256 of its bytes. */
export interface Bundle {
	path: string;
	digest: string;
	bytes: number;
}

/**
 * Packs files so that the same contents always give the same bytes: sorted, owned by root, from 1970, executable or not.
 */
export async function packBundle(files: readonly FoundFile[], to: string): Promise<Bundle> {
	const pack = tar.pack();
	const hash = createHash("sha256");
	let bytes = 0;
	async function* counted(chunks: AsyncIterable<unknown>): AsyncGenerator<Buffer> {
		for await (const chunk of chunks) {
			if (!Buffer.isBuffer(chunk)) continue;
			hash.update(chunk);
			bytes += chunk.length;
			yield chunk;
		}
	}
	const written = pipeline(counted(pack), createWriteStream(to));
	const packed = (async () => {
		for (const { path, from } of [...files].sort((a, b) => (a.path < b.path ? -1 : 1))) {
			const content = await readFile(from);
			const mode = (await stat(from)).mode & 0o111 ? 0o755 : 0o644;
			await new Promise<void>((resolve, reject) => {
				pack.entry({ name: path, mode, mtime: new Date(0) }, content, (error) =>
					error ? reject(error) : resolve(),
				);
			});
		}
		pack.finalize();
	})();
	await Promise.all([written, packed]);
	return { path: to, digest: hash.digest("hex"), bytes };
}
