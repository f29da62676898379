/** Runs a module's functions in Node, metered or not, with imports that only take notes. */
import { FUEL, METER, REFILL } from "../wasm/meter/names.ts";

/** What Node's types leave to those of the DOM. */
interface Engine {
	Module: { new (bytes: Uint8Array): object; imports(module: object): { module: string; name: string }[] };
	Instance: new (module: object, imports: object) => { exports: Record<string, unknown> };
	RuntimeError: ErrorConstructor;
}
const engine = (globalThis as unknown as { WebAssembly: Engine }).WebAssembly;

/** Whether the engine takes the module. */
export function isValid(bytes: Uint8Array): boolean {
	try {
		new engine.Module(bytes);
		return true;
	} catch {
		return false;
	}
}

type Value = number | bigint;

export interface Running {
	/** An export's result, or "trap". */
	call(name: string, ...args: Value[]): unknown;
	global(name: string): Value;
	readonly memory: Uint8Array;
	/** Fuel used so far, and how often more was asked for. */
	readonly used: number;
	readonly refills: number;
	/** Calls of imports: the name and the arguments. */
	readonly calls: unknown[][];
}

/** @param slice is how much fuel it is given at a time, `hostFuel` what each call of an import takes off. */
export function instantiate(bytes: Uint8Array, { slice = 100_000, hostFuel = 0 } = {}): Running {
	const module = new engine.Module(bytes);
	const calls: unknown[][] = [];
	let [granted, refills] = [0, 0];
	const imports: Record<string, Record<string, unknown>> = {};
	for (const { module: from, name } of engine.Module.imports(module)) {
		imports[from] ??= {};
		imports[from][name] = (...args: unknown[]): number => {
			calls.push([name, ...args]);
			if (fuel !== undefined) fuel.value -= hostFuel;
			return 0;
		};
	}
	const refill = (): void => {
		refills += 1;
		while (fuel !== undefined && fuel.value < 0) {
			fuel.value += slice;
			granted += slice;
		}
	};
	if (imports[METER] !== undefined) imports[METER][REFILL] = refill;
	const { exports } = new engine.Instance(module, imports);
	const fuel = exports[FUEL] as { value: number } | undefined;
	return {
		call: (name, ...args) => {
			try {
				return (exports[name] as (...args: Value[]) => unknown)(...args);
			} catch (thrown) {
				if (thrown instanceof engine.RuntimeError) return "trap";
				throw thrown;
			}
		},
		global: (name) => (exports[name] as { value: Value }).value,
		get memory(): Uint8Array {
			return new Uint8Array((exports.memory as { buffer: ArrayBuffer }).buffer);
		},
		get used(): number {
			return granted - (fuel?.value ?? 0);
		},
		get refills(): number {
			return refills;
		},
		calls,
	};
}
