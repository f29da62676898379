/** The main module of a script's own isolate: what the runner calls. */
import { WorkerEntrypoint } from "cloudflare:workers";
import { NO_MAIN, runScript, type ScriptModule } from "headstart";
import type { HostApi, ScriptExit } from "../protocol.ts";

export default class Shim extends WorkerEntrypoint {
	/** Why the script cannot run; undefined when it can. */
	async check(): Promise<string | undefined> {
		try {
			const script = await load();
			return typeof script.default === "function" ? undefined : NO_MAIN;
		} catch (thrown) {
			return thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown);
		}
	}

	run(input: Uint8Array, host: HostApi): Promise<ScriptExit> {
		return runScript(load, input, host);
	}
}

function load(): Promise<ScriptModule> {
	return import("script.js");
}
