/** Emits the runner's side of the WASM imports: the table that unpacks and packs each call, and their signatures. */

import { GENERATED } from "../emitter.ts";
import type { SchemaModel } from "../model.ts";
import {
	errorNames,
	type Method,
	type Parameter,
	readMethods,
	resultStructs,
	wasmParameters,
} from "./mapping.ts";
import { blockComment } from "./text.ts";

/** The text of `src/isolates/generated/imports.ts`. */
export function emitRunner(schema: SchemaModel): string {
	const methods = readMethods(schema);
	return [
		`// ${GENERATED}`,
		'import type { Filled, Marshal } from "../wasm/marshal.ts";\n',
		...resultStructs(methods).map(emitStruct),
		emitInterface(methods),
		emitBindings(methods),
	].join("\n");
}

/** The text of `src/isolates/generated/signatures.ts`: what the checker of modules needs too. */
export function emitRunnerTables(schema: SchemaModel): string {
	const methods = readMethods(schema);
	return [`// ${GENERATED}`, emitSignatures(methods), emitErrors(errorNames(schema))].join("\n");
}

function emitStruct(struct: ReturnType<typeof resultStructs>[number]): string {
	const fields = struct.fields.map(
		(field) => `\t${field.name}: ${field.type === "u64" ? "bigint" : "number"};`,
	);
	return `export interface ${struct.name} {\n${fields.join("\n")}\n}\n`;
}

function emitInterface(methods: Method[]): string {
	const members = methods.map((method) => {
		const parameters = method.parameters.map((it) => `${it.name}: ${scriptType(it)}`);
		if (method.result.kind === "data") parameters.push("capacity: number");
		const result = resultType(method);
		return `${blockComment(method.doc, "\t")}\t${method.name}(${parameters.join(", ")}): ${method.blocks ? `Promise<${result}>` : result};`;
	});
	return `/** The calls of an initscript, unpacked. A call that fails throws a \`ScriptFailure\`. */\nexport interface InitscriptCalls {\n${members.join("\n")}\n}\n`;
}

function emitSignatures(methods: Method[]): string {
	const rows = methods.map((it) => `\t["${it.name}", ${JSON.stringify(wasmParameters(it))}],`);
	return `/** The WASM parameters of each import of module \`headstart\`; each returns an i32. */\nexport const importParameters: ReadonlyMap<string, readonly ("i32" | "i64")[]> = new Map<string, readonly ("i32" | "i64")[]>([\n${rows.join("\n")}\n]);\n`;
}

function emitBindings(methods: Method[]): string {
	const rows = methods.map((method) => {
		const names = wasmNames(method);
		const types = wasmParameters(method).map((it): string => (it === "i64" ? "bigint" : "number"));
		const typed = names.map((name, index) => `${name}: ${types[index] ?? "number"}`);
		const wait = method.blocks ? "await " : "";
		const head = method.blocks
			? `m.blocking(async (${typed.join(", ")}) => {`
			: `m.call((${typed.join(", ")}) => {`;
		return `\t\t${method.name}: ${head}\n${emitBody(method, wait)}\t\t}),`;
	});
	return `/** The import object's \`headstart\` for one instance. \`api\` gives the calls of the run that it is used for. */\nexport function bindImports(api: () => InitscriptCalls, m: Marshal): Record<string, WebAssembly.ImportValue> {\n\treturn {\n${rows.join("\n")}\n\t};\n}\n`;
}

/** Names of the WASM parameters, in the order of {@link wasmParameters}. */
function wasmNames(method: Method): string[] {
	const names = method.parameters.flatMap((it) =>
		it.type === "text" || it.type === "data" ? [it.name, `${it.name}Length`] : [it.name],
	);
	if (method.result.kind === "data") return [...names, "target", "capacity"];
	return method.result.kind === "struct" ? [...names, "target"] : names;
}

function emitBody(method: Method, wait: string): string {
	const call = `${wait}api().${method.name}(${[...method.parameters.map(unpack), ...(method.result.kind === "data" ? ["m.u32(capacity)"] : [])].join(", ")})`;
	const line = (text: string): string => `\t\t\t${text}\n`;
	switch (method.result.kind) {
		case "none":
			return line(`${call};`) + line("return 0;");
		case "handle":
			return line(`return m.count(${call});`);
		case "data":
			return line("m.check(target, capacity);") + line(`return m.fill(target, capacity, ${call});`);
		case "struct": {
			const { struct } = method.result;
			const writes = struct.fields.map((field) =>
				line(
					field.type === "u64"
						? `view.setBigUint64(${field.offset}, value.${field.name}, true);`
						: `view.setUint32(${field.offset}, value.${field.name}, true);`,
				),
			);
			return [
				line(`m.check(target, ${struct.bytes});`),
				line(`const value = ${call};`),
				line(`const view = m.view(target, ${struct.bytes});`),
				...writes,
				line("return 0;"),
			].join("");
		}
	}
}

function unpack(parameter: Parameter): string {
	const { name, type } = parameter;
	return type === "u32" || type === "u64" ? `m.${type}(${name})` : `m.${type}(${name}, ${name}Length)`;
}

function emitErrors(names: string[]): string {
	const rows = names.map((name, number) => `\t["${name}", ${number}],`);
	return `/** ErrorCode by name: what a failed import returns, negated. */\nexport const errorNumbers: ReadonlyMap<string, number> = new Map([\n${rows.join("\n")}\n]);\n`;
}

function scriptType({ type }: Parameter): string {
	const types: Record<Parameter["type"], string> = {
		u32: "number",
		u64: "bigint",
		text: "string",
		data: "Uint8Array",
	};
	return types[type];
}

function resultType({ result }: Method): string {
	switch (result.kind) {
		case "none":
			return "void";
		case "handle":
			return "number";
		case "data":
			return "Filled";
		case "struct":
			return result.struct.name;
	}
}
