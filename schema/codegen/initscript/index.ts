/** All that schema/initscript.capnp gives: the runner's imports, and each language's declarations. */
import type { SchemaModel } from "../model.ts";
import { emitAssemblyScript } from "./assemblyscript.ts";
import { emitC } from "./c.ts";
import { emitRunner, emitRunnerTables } from "./runner.ts";
import { emitTypeScript } from "./typescript.ts";

/** Generated files: path from the project's root → text. */
export function emitInitscript(schema: SchemaModel): Map<string, string> {
	return new Map([
		["src/isolates/generated/imports.ts", emitRunner(schema)],
		["src/isolates/generated/signatures.ts", emitRunnerTables(schema)],
		["initscripts/typescript/generated/headstart.d.ts", emitTypeScript(schema)],
		["initscripts/c/generated/headstart_imports.h", emitC(schema)],
		["initscripts/assemblyscript/generated/imports.ts", emitAssemblyScript(schema)],
	]);
}
