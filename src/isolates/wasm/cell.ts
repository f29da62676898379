/** Runs a WASM initscript: a fresh instance in this isolate, suspended (JSPI) while it waits. */
import { bindImports } from "../generated/imports.ts";
import type { HostApi, ScriptExit } from "../protocol.ts";
import { limitEnd, runToEnd } from "../script/end.ts";
import { Session } from "../script/session.ts";
import { jspi } from "./jspi.ts";
import { Marshal } from "./marshal.ts";
import { ENTRY, INITIALIZE, MEMORY } from "./module.ts";

/** AssemblyScript's `assert` or `throw`: a trap with a text. */
class Abort extends Error {
	override readonly name = "Abort";
}

export class WasmCell {
	readonly #module: WebAssembly.Module;
	readonly #marshal = new Marshal();

	constructor(module: WebAssembly.Module) {
		this.#module = module;
	}

	/** Runs the script to its end. */
	async run(input: Uint8Array, host: HostApi): Promise<ScriptExit> {
		const session = new Session(host, input);
		let exports: WebAssembly.Exports;
		try {
			exports = this.#instantiate(session);
		} catch (thrown) {
			// The engine has no memory for it; a data segment outside of the memory is the module's own fault.
			if (thrown instanceof RangeError)
				return limitEnd(`the module's memory cannot be had: ${thrown.message}`);
			return runToEnd(session, () => Promise.reject(thrown));
		}
		return runToEnd(session, async () => {
			const { [INITIALIZE]: initialize, [ENTRY]: entry } = exports;
			if (initialize !== undefined) await jspi.promising(initialize)();
			const status = entry === undefined ? undefined : await jspi.promising(entry)();
			return typeof status === "number" ? status >>> 0 : 0;
		});
	}

	#instantiate(session: Session): WebAssembly.Exports {
		const marshal = this.#marshal;
		const abort = (message: number, file: number, line: number, column: number): never => {
			const text = marshal.assemblyScriptText(message);
			throw new Abort(`${text} (${marshal.assemblyScriptText(file)}:${line >>> 0}:${column >>> 0})`);
		};
		const { exports } = new WebAssembly.Instance(this.#module, {
			headstart: bindImports(session, marshal),
			env: { abort },
		});
		const memory = exports[MEMORY];
		if (memory instanceof WebAssembly.Memory) marshal.attach(memory);
		return exports;
	}
}
