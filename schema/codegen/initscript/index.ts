/** All that schema/initscript.capnp gives: the runner's imports, and each language's declarations. */
import type { Emitter } from "../emitter.ts";
import { emitAssemblyScript } from "./assemblyscript.ts";
import { emitC } from "./c.ts";
import { emitRunner, emitRunnerTables } from "./runner.ts";
import { emitRust } from "./rust.ts";
import { emitTypeScript } from "./typescript.ts";

export const emitInitscript: Emitter = (schema) => [
	{ path: "src/isolates/generated/imports.ts", text: emitRunner(schema) },
	{ path: "src/isolates/generated/signatures.ts", text: emitRunnerTables(schema) },
	{ path: "initscripts/typescript/generated/headstart.d.ts", text: emitTypeScript(schema) },
	{ path: "initscripts/c/generated/headstart_imports.h", text: emitC(schema) },
	{ path: "initscripts/rust/generated/imports.rs", text: emitRust(schema) },
	{ path: "initscripts/assemblyscript/generated/imports.ts", text: emitAssemblyScript(schema) },
];
