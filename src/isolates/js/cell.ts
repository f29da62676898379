/** Runs a TypeScript or JavaScript initscript, bundled, in a V8 isolate of its own without any network. */
import type { WorkerEntrypoint } from "cloudflare:workers";
import headstartSource from "isolate:headstart";
import shimSource from "isolate:shim";
import type { HostApi, ScriptExit } from "../protocol.ts";
import { API_MODULE, MAIN_MODULE, SCRIPT_MODULE } from "./stack.ts";

const COMPATIBILITY_DATE = "2026-11-01";

/** An initscript has the API and the language: none of Node's modules. */
const COMPATIBILITY_FLAGS = ["no_nodejs_compat", "no_nodejs_compat_v2"];

/** What js/shim.ts answers to. */
interface ShimService extends WorkerEntrypoint {
	check(): Promise<string | undefined>;
	run(input: Uint8Array, host: HostApi): Promise<ScriptExit>;
}

/** Stays usable as long as the request that made it. */
export class JsCell {
	readonly #shim: Fetcher<ShimService>;

	constructor(loader: WorkerLoader, source: string) {
		const worker = loader.load({
			compatibilityDate: COMPATIBILITY_DATE,
			compatibilityFlags: COMPATIBILITY_FLAGS,
			mainModule: MAIN_MODULE,
			modules: {
				[MAIN_MODULE]: { js: shimSource },
				[API_MODULE]: { js: headstartSource },
				[SCRIPT_MODULE]: { js: source },
			},
			env: {},
			globalOutbound: null,
		});
		this.#shim = worker.getEntrypoint<ShimService>();
	}

	/** Starts the isolate and says why its script cannot run; undefined when it can. */
	check(): Promise<string | undefined> {
		return this.#shim.check();
	}

	run(input: Uint8Array, host: HostApi): Promise<ScriptExit> {
		return this.#shim.run(input, host);
	}
}
