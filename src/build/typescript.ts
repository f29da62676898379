/** TypeScript and JavaScript initscripts: one minified module. The API, module `headstart`, is the runner's. */
import { dirname, join, resolve } from "node:path";
import { type BuildFailure, build, formatMessages } from "esbuild";
import { BuildError } from "./error.ts";

/** What goes into the bundle of a script that imports it. */
const PROTOCOLS = join(import.meta.dirname, "../../initscripts/typescript/protocols.ts");

export async function buildTypeScript(path: string): Promise<{ source: string; sourceMap: string }> {
	try {
		const { outputFiles } = await build({
			entryPoints: [resolve(path)],
			absWorkingDir: dirname(resolve(path)),
			bundle: true,
			write: false,
			minifySyntax: true,
			minifyWhitespace: true, // names stay: they make stacks readable
			format: "esm",
			target: "es2024",
			platform: "neutral",
			mainFields: ["module", "main"],
			alias: { "headstart/protocols": PROTOCOLS },
			external: ["headstart"],
			sourcemap: "external",
			legalComments: "none",
			outfile: "script.js",
			logLevel: "silent",
			tsconfigRaw: {},
		});
		const text = (ending: string): string =>
			outputFiles.find((file) => file.path.endsWith(ending))?.text ?? "";
		return { source: text(".js"), sourceMap: text(".map") };
	} catch (thrown) {
		throw (await failureOf(path, thrown)) ?? thrown;
	}
}

/** What esbuild found wrong, for the person who wrote it; undefined where something else failed. */
export async function failureOf(path: string, thrown: unknown): Promise<BuildError | undefined> {
	if (!isBuildFailure(thrown)) return undefined;
	const messages = await formatMessages(thrown.errors, { kind: "error", color: false });
	return new BuildError(`${path} does not compile:`, messages.join(""));
}

function isBuildFailure(thrown: unknown): thrown is BuildFailure {
	return thrown instanceof Error && "errors" in thrown && Array.isArray(thrown.errors);
}
