import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse, stringify, type TomlTable } from "smol-toml";

/**
 * Copies a function's folder and changes its headstart.toml; the folder is removed when `use` returns.
 *
 * @example staged("apps/imgrec", (manifest) => ({ ...manifest, name: "other" }), deploy)
 */
export async function staged<T>(
	folder: string,
	change: (manifest: TomlTable) => TomlTable,
	use: (folder: string) => Promise<T>,
): Promise<T> {
	const copy = await mkdtemp(join(tmpdir(), "hsb-stage-"));
	try {
		await cp(folder, copy, { recursive: true });
		const manifest = join(copy, "headstart.toml");
		await writeFile(manifest, stringify(change(parse(await readFile(manifest, "utf8")))));
		return await use(copy);
	} finally {
		await rm(copy, { recursive: true, force: true });
	}
}

/** The table `key` of a manifest, with values added or replaced. */
export function merged(manifest: TomlTable, key: string, values: TomlTable): TomlTable {
	const before = manifest[key];
	const table =
		typeof before === "object" && !Array.isArray(before) && !(before instanceof Date) ? before : {};
	return { ...manifest, [key]: { ...table, ...values } };
}
