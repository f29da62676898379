/** Emits the C declarations of the WASM imports. */

import { GENERATED } from "../emitter.ts";
import type { SchemaModel } from "../model.ts";
import { errorNames, type Method, readMethods, resultStructs } from "./mapping.ts";
import { blockComment, snakeCase } from "./text.ts";

/** The text of `initscripts/c/generated/headstart_imports.h`. */
export function emitC(schema: SchemaModel): string {
	const methods = readMethods(schema);
	const errors = errorNames(schema).map(
		(name, number) => `\tHEADSTART_${snakeCase(name).toUpperCase()} = ${number},\n`,
	);
	const structs = resultStructs(methods).map((struct) => {
		const fields = struct.fields.map(
			(it) => `\t${it.type === "u64" ? "uint64_t" : "uint32_t"} ${snakeCase(it.name)};\n`,
		);
		return `struct headstart_${snakeCase(struct.name)} {\n${fields.join("")}};\n`;
	});
	return [
		`/* ${GENERATED} */`,
		"#ifndef HEADSTART_IMPORTS_H",
		"#define HEADSTART_IMPORTS_H\n",
		"#include <stdint.h>\n",
		'#define HEADSTART_IMPORT(name) __attribute__((import_module("headstart"), import_name(name)))\n',
		"/* A call that fails returns one of these, negated. */",
		`enum headstart_error {\n${errors.join("")}};\n`,
		...structs,
		...methods.map(emitFunction),
		"#endif\n",
	].join("\n");
}

function emitFunction(method: Method): string {
	const parameters = method.parameters.map((it) => {
		const name = snakeCase(it.name);
		if (it.type === "u32") return `uint32_t ${name}`;
		if (it.type === "u64") return `uint64_t ${name}`;
		return `${it.type === "text" ? "const char" : "const void"} *${name}, uint32_t ${name}_length`;
	});
	const { result } = method;
	if (result.kind === "data") parameters.push(`void *${snakeCase(result.name)}`, "uint32_t capacity");
	if (result.kind === "struct") {
		parameters.push(`struct headstart_${snakeCase(result.struct.name)} *${snakeCase(result.name)}`);
	}
	const list = parameters.length === 0 ? "void" : parameters.join(", ");
	return `${blockComment(method.doc)}HEADSTART_IMPORT("${method.name}")\nint32_t headstart_${snakeCase(method.name)}(${list});\n`;
}
