/**
 * Builds an initscript from its source, for deployment: what a runner can run, checked against the runner's own rules.
 *
 * @example
 * const script = await buildInitscript("apps/imgrec/initscript.ts");
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { MAX_SOURCE } from "../isolates/js/limits.ts";
import { boundMemory } from "../isolates/wasm/memory.ts";
import { meter } from "../isolates/wasm/meter/index.ts";
import { ModuleError } from "../isolates/wasm/reader.ts";
import { buildAssemblyScript } from "./assemblyscript.ts";
import { buildC } from "./c.ts";
import { BuildError } from "./error.ts";
import { type Language, languageOf } from "./language.ts";
import { buildRust } from "./rust.ts";
import { buildTypeScript } from "./typescript.ts";

export { BuildError } from "./error.ts";
export { type Language, languageOf } from "./language.ts";

export type BuiltInitscript = {
	/** Hex SHA-256 of the bytes, or of the source as UTF-8. */
	digest: string;
	/** Bytes of what is deployed. */
	size: number;
	language: Language;
} & (
	| {
			format: "wasm";
			bytes: Uint8Array;
			/** What the node makes of it when it meters it. */
			metered: Uint8Array;
	  }
	| { format: "js"; source: string; sourceMap: string }
);

export interface BuildOptions {
	/** By default what the file's name says: `.ts`, `.js`, `.as.ts`, `.c`, `.rs`, `.wasm`. */
	language?: Language;
	/** The bound that is written into a WASM module's memory. By default 16 MiB. */
	memoryBytes?: number;
}

const DEFAULT_MEMORY_BYTES = 16 << 20;

/** Throws {@link BuildError} when the file is missing, does not compile, or breaks a rule of the runner. */
export async function buildInitscript(path: string, options: BuildOptions = {}): Promise<BuiltInitscript> {
	const language = options.language ?? languageOf(path);
	if (language === "typescript") {
		const { source, sourceMap } = await buildTypeScript(path);
		if (source.length > MAX_SOURCE) {
			throw new BuildError(
				`${path}: its bundle has ${source.length} characters; at most ${MAX_SOURCE} are allowed`,
			);
		}
		return { format: "js", source, sourceMap, language, ...identity(Buffer.from(source)) };
	}
	const module = await compile(path, language);
	const { bytes, metered } = bound(path, module, options.memoryBytes ?? DEFAULT_MEMORY_BYTES);
	return { format: "wasm", bytes, metered, language, ...identity(bytes) };
}

async function compile(path: string, language: Exclude<Language, "typescript">): Promise<Uint8Array> {
	switch (language) {
		case "c":
			return buildC(path);
		case "rust":
			return buildRust(path);
		case "assemblyscript":
			return buildAssemblyScript(path);
		case "wasm":
			return readModuleFile(path);
	}
}

async function readModuleFile(path: string): Promise<Uint8Array> {
	try {
		return await readFile(path);
	} catch (thrown) {
		throw new BuildError(
			`${path} cannot be read: ${thrown instanceof Error ? thrown.message : String(thrown)}`,
		);
	}
}

/** The engine that checks the code itself; Node's types leave it to those of the DOM. */
const engine = (globalThis as unknown as { WebAssembly: Engine }).WebAssembly;

interface Engine {
	Module: new (bytes: Uint8Array) => unknown;
	CompileError: ErrorConstructor;
}

/** Checks the module and writes the bound of its memory into it. The node does the same, and meters it. */
function bound(
	path: string,
	module: Uint8Array,
	memoryBytes: number,
): { bytes: Uint8Array; metered: Uint8Array } {
	try {
		const bytes = boundMemory(module, memoryBytes);
		new engine.Module(bytes);
		return { bytes, metered: meter(bytes) };
	} catch (thrown) {
		if (thrown instanceof ModuleError || thrown instanceof engine.CompileError) {
			throw new BuildError(`${path} cannot run as an initscript: ${thrown.message}`);
		}
		throw thrown;
	}
}

function identity(bytes: Uint8Array): { digest: string; size: number } {
	return { digest: createHash("sha256").update(bytes).digest("hex"), size: bytes.byteLength };
}
