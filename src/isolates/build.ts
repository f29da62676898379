/** Makes the runner: its bundle and its workerd configuration (docs/runner.md). Runs in Node. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { build, type Plugin } from "esbuild";

const here = import.meta.dirname;

/**
 * Writes `config.capnp` and `runner.js` into `outDir`.
 *
 * @example await buildRunner("dist/runner")
 */
export async function buildRunner(outDir: string): Promise<void> {
	const isolate = {
		headstart: await bundle(join(here, "js/headstart.ts")),
		shim: await bundle(join(here, "js/shim.ts")),
	};
	const runner = await bundle(join(here, "runner.ts"), [isolateTexts(isolate)]);
	await mkdir(outDir, { recursive: true });
	await writeFile(join(outDir, "runner.js"), runner);
	await writeFile(join(outDir, "config.capnp"), CONFIG);
}

const COMPATIBILITY_DATE = "2026-11-01";

async function bundle(entry: string, plugins: Plugin[] = []): Promise<string> {
	const result = await build({
		entryPoints: [entry],
		bundle: true,
		write: false,
		format: "esm",
		target: "es2024",
		platform: "neutral",
		legalComments: "none",
		external: ["cloudflare:*", "headstart", "script.js"],
		plugins,
	});
	const [file] = result.outputFiles;
	if (file === undefined) throw new Error(`esbuild gave nothing for ${entry}`);
	return file.text;
}

/** `import source from "isolate:headstart"` gives that module's text. */
function isolateTexts(texts: Record<string, string>): Plugin {
	return {
		name: "isolate-texts",
		setup: ({ onResolve, onLoad }) => {
			onResolve({ filter: /^isolate:/ }, ({ path }) => ({ path, namespace: "isolate" }));
			onLoad({ filter: /.*/, namespace: "isolate" }, ({ path }) => ({
				contents: texts[path.slice("isolate:".length)] ?? "",
				loader: "text",
			}));
		},
	};
}

/** The socket's address comes from the command line: `--socket-addr=http=unix:PATH`. */
const CONFIG = `# Made by src/isolates/build.ts.
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "runner", worker = .runner),
    (name = "nothing", network = (allow = [])),
  ],
  sockets = [(
    name = "http",
    address = "unix:runner.sock",
    service = "runner",
    http = (capnpConnectHost = "runner")
  )],
);

const runner :Workerd.Worker = (
  modules = [(name = "runner.js", esModule = embed "runner.js")],
  compatibilityDate = "${COMPATIBILITY_DATE}",
  globalOutbound = "nothing",
  bindings = [
    (name = "UNSAFE_EVAL", unsafeEval = void),
    (name = "LOADER", workerLoader = ()),
    (name = "INCUBATOR", service = (name = "runner", entrypoint = "Incubator")),
    (name = "NURSERY", durableObjectNamespace = "Nursery"),
  ],
  durableObjectNamespaces = [(className = "Nursery", uniqueKey = "nursery", preventEviction = true)],
  durableObjectStorage = (inMemory = void),
);
`;
