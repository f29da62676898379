/** headstart-image.toml: what an image is made of. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parse, TomlError } from "smol-toml";
import * as v from "valibot";
import { CliError, systemCode } from "../errors.ts";

const text = v.pipe(v.string(), v.minLength(1), v.maxLength(4096));
const absolute = v.pipe(text, v.regex(/^\/(?!.*(?:^|\/)\.\.(?:\/|$))./, "an absolute path was expected"));

const schema = v.strictObject({
	/** Packages of the Debian release that this machine has. */
	debian: v.optional(
		v.strictObject({
			packages: v.pipe(
				v.array(v.pipe(text, v.regex(/^[a-z0-9][a-z0-9.+-]+(?::[a-z0-9]+)?$/))),
				v.minLength(1),
			),
			/** "extract": their files only, no script of theirs runs; "essential" and "custom" as mmdebstrap has them. */
			variant: v.optional(v.picklist(["extract", "custom", "essential"]), "extract"),
			/** Paths that are left out, beside documentation: "/usr/share/icons/*". */
			exclude: v.optional(v.array(absolute), []),
		}),
	),
	/** Packages of Python, for the image's own, with their dependencies. */
	pypi: v.optional(
		v.strictObject({
			packages: v.pipe(v.array(v.pipe(text, v.regex(/^[A-Za-z0-9]/))), v.minLength(1)),
		}),
	),
	/** The main module of an isolate: it is built as a deploy builds it, into /app. */
	modules: v.optional(text),
	/** Files and folders of this folder. */
	files: v.optional(v.array(v.strictObject({ from: text, to: absolute })), []),
	config: v.optional(
		v.strictObject({
			env: v.optional(v.record(v.pipe(text, v.regex(/^[A-Za-z_][A-Za-z0-9_]*$/)), v.string()), {}),
			working_dir: v.optional(absolute),
			command: v.optional(v.array(text), []),
		}),
		{},
	),
});

export type Definition = v.InferOutput<typeof schema>;

export async function readDefinition(folder: string): Promise<Definition> {
	const path = join(folder, "headstart-image.toml");
	let source: string;
	try {
		source = await readFile(path, "utf8");
	} catch (error) {
		if (systemCode(error) !== "ENOENT" && systemCode(error) !== "ENOTDIR") throw error;
		throw new CliError(`${folder} has no headstart-image.toml`, "docs/images.md shows one");
	}
	return parseDefinition(source, path);
}

/** Throws {@link CliError} with the first thing that is wrong. */
export function parseDefinition(source: string, path: string): Definition {
	let input: unknown;
	try {
		input = parse(source);
	} catch (error) {
		if (!(error instanceof TomlError)) throw error;
		throw new CliError(`${path}:${error.line}:${error.column}: ${error.message.split("\n")[0]}`);
	}
	const result = v.safeParse(schema, input);
	if (!result.success) {
		const [issue] = result.issues;
		throw new CliError(`${path}: ${v.getDotPath(issue) ?? ""}: ${issue.message}`);
	}
	const { debian, pypi, files, modules } = result.output;
	if (debian === undefined && pypi === undefined && files.length === 0 && modules === undefined)
		throw new CliError(`${path}: the image would be empty`, "name packages or files");
	return result.output;
}
