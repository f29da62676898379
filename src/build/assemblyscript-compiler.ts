/**
 * Compiles one AssemblyScript file: `node assemblyscript-compiler.ts SOURCE MODULE`. Diagnostics go to stderr.
 * The package `headstart` is the SDK in `initscripts/assemblyscript`, wherever the source lies.
 */
import { readFile, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import * as asc from "assemblyscript/asc";

const SDK = join(import.meta.dirname, "../../initscripts/assemblyscript");
const SDK_FILE = /(?:^|\/)node_modules\/headstart\/(.+)$/;

const [source = "", module = ""] = process.argv.slice(2);

const { error } = await asc.main(
	[
		basename(source),
		"--baseDir",
		dirname(source),
		"--outFile",
		"initscript.wasm",
		"--runtime",
		"stub",
		"--optimizeLevel",
		"3",
		"--shrinkLevel",
		"2",
		"--converge",
		"--noAssert",
		"--exportStart",
		"_initialize",
	],
	{
		stdout: process.stderr,
		stderr: process.stderr,
		readFile: async (name, baseDir) => {
			const path = resolve(baseDir, name);
			const inSdk = SDK_FILE.exec(path)?.[1];
			return readFile(inSdk === undefined ? path : join(SDK, inSdk), "utf8").catch(() => null);
		},
		writeFile: (_, contents) => writeFile(module, contents),
		listFiles: () => null,
	},
);
process.exitCode = error === null ? 0 : 1;
