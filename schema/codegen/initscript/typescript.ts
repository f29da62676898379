/** Emits the declarations that an initscript in TypeScript is checked against. */

import { GENERATED } from "../emitter.ts";
import type { SchemaModel } from "../model.ts";
import { type Method, type Parameter, readMethods, resultStructs } from "./mapping.ts";
import { blockComment } from "./text.ts";

/** The text of `initscripts/typescript/generated/headstart.d.ts`. */
export function emitTypeScript(schema: SchemaModel): string {
	const methods = readMethods(schema);
	const structs = resultStructs(methods).map((struct) => {
		const fields = struct.fields.map(
			(it) => `${blockComment(it.doc, "\t\t")}\t\t${it.name}: ${it.type === "u64" ? "bigint" : "number"};\n`,
		);
		return `\texport interface ${struct.name} {\n${fields.join("")}\t}\n`;
	});
	const functions = methods.map((method) => {
		const parameters = method.parameters.map((it) => `${it.name}: ${TYPES[it.type]}`).join(", ");
		return `${blockComment(method.doc, "\t")}\texport function ${method.name}(${parameters}): ${resultType(method)};\n`;
	});
	return [
		`// ${GENERATED}`,
		'declare module "headstart" {',
		"\t/** An id of an RPC or a message. A text is hashed: FNV-1a 64 of its UTF-8 bytes. */",
		"\texport type Id = bigint | string;\n",
		...structs,
		...functions,
		"}\n",
	].join("\n");
}

const TYPES: Record<Parameter["type"], string> = {
	u32: "number",
	u64: "Id",
	text: "string",
	data: "Uint8Array | string",
};

function resultType(method: Method): string {
	const { result, blocks, name } = method;
	// `exit` unwinds the script: what follows it is never reached.
	if (name === "exit") return "never";
	const plain = { none: "void", handle: "number", data: "Uint8Array", struct: "" }[result.kind];
	const type = result.kind === "struct" ? result.struct.name : plain;
	return blocks ? `Promise<${type}>` : type;
}
