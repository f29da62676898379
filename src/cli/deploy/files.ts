import { readdir } from "node:fs/promises";
import { join } from "node:path";

/** A regular file of a folder: its path from there, with "/" between names. */
export interface FoundFile {
	path: string;
	from: string;
}

/** All regular files under `folder` that `wanted` takes, by path. Folders are asked for too; links are not followed. */
export async function findFiles(
	folder: string,
	wanted: (path: string, name: string) => boolean,
	under = "",
): Promise<FoundFile[]> {
	const found: FoundFile[] = [];
	for (const entry of await readdir(join(folder, under), { withFileTypes: true })) {
		const path = under ? `${under}/${entry.name}` : entry.name;
		if (!wanted(path, entry.name)) continue;
		if (entry.isDirectory()) found.push(...(await findFiles(folder, wanted, path)));
		else if (entry.isFile()) found.push({ path, from: join(folder, path) });
	}
	return found.sort((a, b) => (a.path < b.path ? -1 : 1));
}
