import { createReadStream } from "node:fs";
import { lstat, readdir, readlink } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import tar from "tar-stream";

/** Entries' time, so that a layer is the same whenever it is made: Unix seconds. */
export const EPOCH = 0;

/** One thing of a layer: where it goes, without a leading "/", and what it is. */
export interface Placed {
	path: string;
	from: string;
}

/** All below `from`, placed below `to`: files and links; folders come by themselves. */
export async function below(from: string, to: string): Promise<Placed[]> {
	const at = to.replace(/^\/+|\/+$/g, "");
	const found = await lstat(from);
	if (!found.isDirectory()) return [{ path: at, from }];
	const entries = await readdir(from, { withFileTypes: true });
	const placed = await Promise.all(entries.map(({ name }) => below(join(from, name), `${at}/${name}`)));
	return placed.flat();
}

/** An archive that is the same for the same content: sorted, root's, of one time, executable or not. */
export function packLayer(files: readonly Placed[]): Readable {
	const pack = tar.pack();
	const sorted = [...files].sort((a, b) => (a.path < b.path ? -1 : 1));
	const write = async (): Promise<void> => {
		for (const { path, from } of sorted) {
			const found = await lstat(from);
			const header = { name: path, mtime: new Date(EPOCH * 1000), uid: 0, gid: 0 };
			if (found.isSymbolicLink()) {
				pack.entry({ ...header, type: "symlink", linkname: await readlink(from) });
			} else if (found.isFile()) {
				const mode = found.mode & 0o111 ? 0o755 : 0o644;
				await pipeline(createReadStream(from), pack.entry({ ...header, mode, size: found.size }));
			}
		}
		pack.finalize();
	};
	write().catch((error: Error) => pack.destroy(error));
	return Readable.from(pack);
}
