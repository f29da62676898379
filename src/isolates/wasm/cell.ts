/** Runs WASM initscripts: a fresh instance each in this isolate, suspended (JSPI) while it waits. */
import { bindImports } from "../generated/imports.ts";
import type { ScriptExit } from "../protocol.ts";
import { limitEnd, runToEnd } from "../script/end.ts";
import type { HostPort } from "../script/port.ts";
import { Session } from "../script/session.ts";
import { Fuel } from "./fuel.ts";
import { jspi } from "./jspi.ts";
import { Marshal } from "./marshal.ts";
import { FUEL, METER, REFILL } from "./meter/names.ts";
import { ENTRY, INITIALIZE, MEMORY } from "./module.ts";
import { ModuleError } from "./reader.ts";

/** AssemblyScript's `assert` or `throw`: a trap with a text. */
class Abort extends Error {
	override readonly name = "Abort";
}

/**
 * A fresh instance, for one run. It may be made before there is a run: a module has no start section, so that nothing of
 * it runs until {@link run}.
 */
export class WasmCell {
	readonly #fuel = new Fuel();
	readonly #marshal = new Marshal((amount) => this.#fuel.charge(amount));
	readonly #exports: WebAssembly.Exports;
	#session: Session | undefined;

	/** Throws `RangeError` when its memory cannot be had, `LinkError` or `RuntimeError` for a fault of the module's own. */
	constructor(module: WebAssembly.Module) {
		this.#exports = new WebAssembly.Instance(module, {
			headstart: bindImports(() => this.#calls(), this.#marshal),
			env: { abort: this.#abort.bind(this) },
			[METER]: { [REFILL]: new jspi.Suspending(() => this.#fuel.refill()) },
		}).exports;
		const { [MEMORY]: memory, [FUEL]: counter } = this.#exports;
		if (counter instanceof WebAssembly.Global) this.#fuel.attach(counter);
		if (memory instanceof WebAssembly.Memory) this.#marshal.attach(memory);
	}

	/** Runs the script to its end, with so many milliseconds of CPU (fuel.ts). Once. */
	run(input: Uint8Array, host: HostPort, cpuMs: number): Promise<ScriptExit> {
		const session = new Session(host, input);
		this.#session = session;
		this.#fuel.start(cpuMs, () => host.open);
		return runToEnd(session, async () => {
			const { [INITIALIZE]: initialize, [ENTRY]: entry } = this.#exports;
			if (initialize !== undefined) await jspi.promising(initialize)();
			const status = entry === undefined ? undefined : await jspi.promising(entry)();
			return typeof status === "number" ? status >>> 0 : 0;
		});
	}

	#calls(): Session {
		if (this.#session === undefined) throw new Error("a call before the run");
		return this.#session;
	}

	#abort(message: number, file: number, line: number, column: number): never {
		const text = this.#marshal.assemblyScriptText(message);
		const place = this.#marshal.assemblyScriptText(file);
		throw new Abort(`${text} (${place}:${line >>> 0}:${column >>> 0})`);
	}
}

/** Runs a script in the cell that `take` gives. A module that cannot be instantiated ends like one that trapped. */
export async function runWasm(
	take: () => WasmCell,
	input: Uint8Array,
	host: HostPort,
	cpuMs: number,
): Promise<ScriptExit> {
	let cell: WasmCell;
	try {
		cell = take();
	} catch (thrown) {
		if (thrown instanceof ModuleError) return limitEnd("initscriptMemory", thrown.message);
		// The engine has no memory for it; a data segment outside of the memory is the module's own fault.
		if (thrown instanceof RangeError) {
			return limitEnd("initscriptMemory", `memory: the module's memory cannot be had: ${thrown.message}`);
		}
		return runToEnd(new Session(host, input), () => Promise.reject(thrown));
	}
	return cell.run(input, host, cpuMs);
}
