/**
 * How a method of schema/initscript.capnp becomes a WASM import: the rules at the head of that file, as data that the
 * emitters beside this one share.
 */
import type { InterfaceModel, MethodModel, SchemaModel, StructModel, TypeModel } from "../model.ts";

/** One parameter of the method, with the WASM parameters that carry it. */
export interface Parameter {
	name: string;
	type: "u32" | "u64" | "text" | "data";
}

/** What the method gives back: a handle, bytes, or the fields of a struct; `none` for nothing. */
export type Result =
	| { kind: "none" }
	| { kind: "handle"; name: string }
	| { kind: "data"; name: string }
	| { kind: "struct"; name: string; struct: FlatStruct };

/** A struct of plain numbers as it lies in linear memory: little-endian, naturally aligned. */
export interface FlatStruct {
	name: string;
	bytes: number;
	fields: { name: string; type: "u32" | "u64"; offset: number; doc: string }[];
}

export interface Method {
	name: string;
	doc: string;
	blocks: boolean;
	parameters: Parameter[];
	result: Result;
}

export type WasmType = "i32" | "i64";

/** The initscript API in the order of the schema. Throws on a type that the mapping has no rule for. */
export function readMethods(schema: SchemaModel): Method[] {
	const api: InterfaceModel = schema.find("interface", "Initscript");
	return api.methods.map((method) => readMethod(schema, method));
}

/** The types of the import's WASM parameters; its result is always an i32. */
export function wasmParameters(method: Method): WasmType[] {
	const types = method.parameters.flatMap((parameter): WasmType[] => {
		if (parameter.type === "u64") return ["i64"];
		return parameter.type === "u32" ? ["i32"] : ["i32", "i32"];
	});
	if (method.result.kind === "data") return [...types, "i32", "i32"];
	return method.result.kind === "struct" ? [...types, "i32"] : types;
}

/** The structs that results name, each once. */
export function resultStructs(methods: Method[]): FlatStruct[] {
	const structs = new Map<string, FlatStruct>();
	for (const { result } of methods) {
		if (result.kind === "struct") structs.set(result.struct.name, result.struct);
	}
	return [...structs.values()];
}

/** The error codes' names by number. */
export function errorNames(schema: SchemaModel): string[] {
	return schema.find("enum", "ErrorCode").values;
}

function readMethod(schema: SchemaModel, method: MethodModel): Method {
	return {
		name: method.name,
		doc: method.doc,
		blocks: method.annotations.includes("blocks"),
		parameters: method.params.fields.map((field) => ({
			name: field.name,
			type: parameterType(`${method.name}.${field.name}`, field.type),
		})),
		result: readResult(schema, method),
	};
}

function parameterType(where: string, type: TypeModel): Parameter["type"] {
	switch (type.kind) {
		case "uint32":
			return "u32";
		case "uint64":
			return "u64";
		case "text":
		case "data":
			return type.kind;
		default:
			throw new Error(`${where}: no rule maps a parameter of type ${type.kind} to WASM`);
	}
}

function readResult(schema: SchemaModel, method: MethodModel): Result {
	const [field, second] = method.results.fields;
	if (field === undefined) return { kind: "none" };
	if (second !== undefined) throw new Error(`${method.name}: a method has at most one result`);
	switch (field.type.kind) {
		case "uint32":
			return { kind: "handle", name: field.name };
		case "data":
			return { kind: "data", name: field.name };
		case "struct": {
			const struct = schema.byId(field.type.id);
			if (struct.kind !== "struct") throw new Error(`${method.name}: ${struct.name} is not a struct`);
			return { kind: "struct", name: field.name, struct: flatten(struct) };
		}
		default:
			throw new Error(`${method.name}: no rule maps a result of type ${field.type.kind} to WASM`);
	}
}

function flatten(struct: StructModel): FlatStruct {
	let end = 0;
	let alignment = 4;
	const fields = struct.fields.map((field) => {
		const type = parameterType(`${struct.name}.${field.name}`, field.type);
		if (type !== "u32" && type !== "u64")
			throw new Error(`${struct.name}.${field.name}: only numbers lie flat`);
		const size = type === "u32" ? 4 : 8;
		alignment = Math.max(alignment, size);
		const offset = Math.ceil(end / size) * size;
		end = offset + size;
		return { name: field.name, type, offset, doc: field.doc };
	});
	return { name: struct.name, bytes: Math.ceil(end / alignment) * alignment, fields };
}
