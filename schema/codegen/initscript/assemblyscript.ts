/** Emits the AssemblyScript declarations of the WASM imports. */

import { GENERATED } from "../emitter.ts";
import type { SchemaModel } from "../model.ts";
import { errorNames, type Method, readMethods, resultStructs, wasmParameters } from "./mapping.ts";
import { blockComment } from "./text.ts";

/** The text of `initscripts/assemblyscript/generated/imports.ts`. */
export function emitAssemblyScript(schema: SchemaModel): string {
	const methods = readMethods(schema);
	const errors = errorNames(schema).map((name, number) => `\t${name} = ${number},\n`);
	const structs = resultStructs(methods).map((struct) => {
		const fields = struct.fields.map((it) => `\t${it.name}: ${it.type} = 0;\n`);
		return `@unmanaged\nexport class ${struct.name} {\n${fields.join("")}}\n`;
	});
	return [
		`// ${GENERATED}`,
		"/** A call that fails returns one of these, negated. */",
		`export enum ErrorCode {\n${errors.join("")}}\n`,
		...structs,
		...methods.map(emitFunction),
	].join("\n");
}

function emitFunction(method: Method): string {
	const names = method.parameters.flatMap((it) =>
		it.type === "text" || it.type === "data" ? [it.name, `${it.name}Length`] : [it.name],
	);
	const { result } = method;
	if (result.kind === "data") names.push(result.name, "capacity");
	if (result.kind === "struct") names.push(result.name);
	const types = wasmParameters(method);
	const parameters = names.map((name, index) => `${name}: ${types[index] === "i64" ? "u64" : "u32"}`);
	return `${blockComment(method.doc)}@external("headstart", "${method.name}")\nexport declare function ${method.name}(${parameters.join(", ")}): i32;\n`;
}
