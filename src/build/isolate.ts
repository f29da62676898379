/** Applications in isolates: one module with all it imports, and its WebAssembly modules beside it (docs/wasm.md). */
import { basename, dirname, join, resolve } from "node:path";
import { build } from "esbuild";
import { failureOf } from "./typescript.ts";

const CLIENT = join(import.meta.dirname, "../../clients/isolate/src");

/** Builds a main module into `app.js` and `*.wasm` in `folder`. Throws {@link BuildError} with what does not compile. */
export async function buildIsolate(main: string, folder: string): Promise<void> {
	const path = resolve(main);
	try {
		await build({
			stdin: {
				contents: [
					`import * as application from ${JSON.stringify(`./${basename(path)}`)};`,
					'import { serve } from "headstart/serve";',
					"export default serve(application);",
				].join("\n"),
				resolveDir: dirname(path),
				sourcefile: "headstart-main",
				loader: "js",
			},
			absWorkingDir: dirname(path),
			bundle: true,
			minifySyntax: true,
			minifyWhitespace: true, // names stay: they make stacks readable
			format: "esm",
			target: "es2024",
			platform: "neutral",
			mainFields: ["browser", "module", "main"],
			conditions: ["workerd", "worker", "browser"],
			alias: {
				headstart: join(CLIENT, "index.ts"),
				"headstart/serve": join(CLIENT, "serve.ts"),
				"headstart/storage": join(CLIENT, "storage.ts"),
			},
			external: ["cloudflare:*", "node:*"],
			loader: { ".wasm": "copy", ".bin": "copy" },
			assetNames: "[name]-[hash]",
			legalComments: "none",
			outfile: join(folder, "app.js"),
			logLevel: "silent",
			tsconfigRaw: {},
		});
	} catch (thrown) {
		throw (await failureOf(path, thrown)) ?? thrown;
	}
}
