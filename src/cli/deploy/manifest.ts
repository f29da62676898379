import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parse, TomlError } from "smol-toml";
import { type Manifest, type ManifestInput, parseManifest } from "../../shared/manifest.ts";
import { CliError, systemCode } from "../errors.ts";

/** headstart.toml of a folder, as it is written and as it is understood. Throws for what is wrong in it, with its place. */
export async function readManifest(folder: string): Promise<{ input: ManifestInput; manifest: Manifest }> {
	const path = join(folder, "headstart.toml");
	let text: string;
	try {
		text = await readFile(path, "utf8");
	} catch (error) {
		if (systemCode(error) !== "ENOENT" && systemCode(error) !== "ENOTDIR") throw error;
		throw new CliError(`${folder} has no headstart.toml`, "`headstart init` writes a folder with one");
	}
	try {
		const input: unknown = parse(text);
		const manifest = parseManifest(input);
		return { input: input as ManifestInput, manifest };
	} catch (error) {
		if (!(error instanceof TomlError)) throw error;
		throw new CliError(`${path}:${error.line}:${error.column}: ${error.message.split("\n")[0]}`);
	}
}
