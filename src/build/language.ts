import { BuildError } from "./error.ts";

export type Language = "typescript" | "assemblyscript" | "c" | "rust" | "wasm";

const BY_ENDING: [RegExp, Language][] = [
	[/\.as\.ts$/, "assemblyscript"],
	[/\.[mc]?[jt]s$/, "typescript"],
	[/\.c$/, "c"],
	[/\.rs$/, "rust"],
	[/\.wasm$/, "wasm"],
];

/** What a file is written in, by its name. */
export function languageOf(path: string): Language {
	const found = BY_ENDING.find(([ending]) => ending.test(path));
	if (found !== undefined) return found[1];
	throw new BuildError(
		`${path}: an initscript is a .ts or .js file, AssemblyScript (.as.ts), C (.c), Rust (.rs), or a WebAssembly module (.wasm)`,
	);
}
