/**
 * The schema in memory: what `capnp compile` says of the files in `schema/`, as plain objects. The emitters beside this
 * file turn it into TypeScript, Python, C and AssemblyScript.
 */
import { execFileSync } from "node:child_process";
import * as capnp from "capnp-ts";
import {
	CodeGeneratorRequest,
	type Field,
	Field_Which,
	type Node,
	Node_SourceInfo,
	Node_Which,
	type Type,
	Type_Which,
	type Value,
} from "capnp-ts/src/std/schema.capnp.js";

/** A type without parameters. */
export type Primitive =
	| "void"
	| "bool"
	| "int8"
	| "int16"
	| "int32"
	| "int64"
	| "uint8"
	| "uint16"
	| "uint32"
	| "uint64"
	| "float32"
	| "float64"
	| "text"
	| "data";

export type TypeModel =
	| { kind: Primitive }
	| { kind: "list"; element: TypeModel }
	| { kind: "enum" | "struct" | "interface"; id: bigint };

export interface FieldModel {
	name: string;
	doc: string;
	type: TypeModel;
	/** In units of the type's own size (bits for bool); for pointers the index in the pointer section. */
	offset: number;
	/** Which value of the struct's discriminant selects this field; undefined outside the union. */
	discriminant: number | undefined;
}

export interface StructModel {
	kind: "struct";
	id: bigint;
	/** With outer names before it: `LogLine`; a method's: `Bridge.hello$Params`. */
	name: string;
	file: string;
	doc: string;
	dataBytes: number;
	pointers: number;
	/** Byte offset of the union's discriminant; undefined without a union. */
	discriminantOffset: number | undefined;
	/** In the order of the source. */
	fields: FieldModel[];
}

export interface EnumModel {
	kind: "enum";
	id: bigint;
	name: string;
	file: string;
	doc: string;
	/** By number. */
	values: string[];
}

export interface MethodModel {
	name: string;
	ordinal: number;
	doc: string;
	/** Parameters in order, as the fields of this struct. */
	params: StructModel;
	results: StructModel;
	/** Names of the annotations on it: `blocks`. */
	annotations: string[];
}

export interface InterfaceModel {
	kind: "interface";
	id: bigint;
	name: string;
	file: string;
	doc: string;
	/** By ordinal. */
	methods: MethodModel[];
}

/** A constant's value: numbers, text, and lists and structs of them; an enum's value is its name. */
export type ConstValue =
	| null
	| boolean
	| number
	| bigint
	| string
	| ConstValue[]
	| { [field: string]: ConstValue };

export interface ConstModel {
	kind: "const";
	id: bigint;
	name: string;
	file: string;
	doc: string;
	type: TypeModel;
	value: ConstValue;
}

export type Definition = StructModel | EnumModel | InterfaceModel | ConstModel;

/** All files that were compiled together. `file` is the base name: `bridge.capnp`. */
export interface SchemaModel {
	definitions: Definition[];
	byId(id: bigint): Definition;
	/** The definitions of one file, in the order of their nodes; without the parameter structs of methods. */
	inFile(file: string): Definition[];
	find<K extends Definition["kind"]>(kind: K, name: string): Extract<Definition, { kind: K }>;
}

/** Compiles `files` with `capnp` and reads the result. Throws with the compiler's message when they do not compile. */
export function readSchema(directory: string, files: string[]): SchemaModel {
	const bytes = execFileSync("capnp", ["compile", "-o-", ...files], {
		cwd: directory,
		env: { ...process.env, PWD: directory },
		maxBuffer: 64 << 20,
		stdio: ["ignore", "pipe", "inherit"],
	});
	// Debian's compiler (0.9) writes SourceInfo without the fields that 1.0 added; capnp-ts 0.9.3 garbles lists whose
	// elements are smaller than it knows them, so it is told the older size.
	Object.assign(Node_SourceInfo._capnp.size, { dataByteLength: 8, pointerLength: 2 });
	const request = new capnp.Message(bytes, false).getRoot(CodeGeneratorRequest);
	return new Reader(request).read();
}

class Reader {
	readonly #nodes = new Map<bigint, Node>();
	readonly #docs = new Map<bigint, { doc: string; members: string[] }>();
	readonly #definitions = new Map<bigint, Definition>();

	constructor(request: CodeGeneratorRequest) {
		request.nodes.forEach((node) => {
			this.#nodes.set(node.id, node);
		});
		request.sourceInfo.forEach((info) => {
			const members = info.members.map((member) => member.docComment.trim());
			this.#docs.set(info.id, { doc: info.docComment.trim(), members });
		});
	}

	read(): SchemaModel {
		for (const node of this.#nodes.values()) this.#definition(node);
		const definitions = [...this.#definitions.values()];
		const byId = (id: bigint): Definition => {
			const found = this.#definitions.get(id);
			if (found === undefined) throw new Error(`the schema has no definition 0x${id.toString(16)}`);
			return found;
		};
		return {
			definitions,
			byId,
			inFile: (file) => definitions.filter((it) => it.file === file && !it.name.includes("$")),
			find: <K extends Definition["kind"]>(kind: K, name: string) => {
				const found = definitions.find((it) => it.kind === kind && it.name === name);
				if (found === undefined) throw new Error(`the schema has no ${kind} ${name}`);
				return found as Extract<Definition, { kind: K }>;
			},
		};
	}

	#definition(node: Node): void {
		if (this.#definitions.has(node.id)) return;
		const [path = "", name = ""] = splitOnce(node.displayName, ":");
		const head = { id: node.id, name, file: path.slice(path.lastIndexOf("/") + 1), doc: this.#doc(node.id) };
		switch (node.which()) {
			case Node_Which.STRUCT:
				this.#definitions.set(node.id, { kind: "struct", ...head, ...this.#struct(node) });
				break;
			case Node_Which.ENUM:
				this.#definitions.set(node.id, {
					kind: "enum",
					...head,
					values: node.enum.enumerants.map((it) => it.name),
				});
				break;
			case Node_Which.INTERFACE:
				this.#definitions.set(node.id, { kind: "interface", ...head, methods: this.#methods(node) });
				break;
			case Node_Which.CONST: {
				const type = this.#type(node.const.type);
				const value = this.#value(type, node.const.value);
				this.#definitions.set(node.id, { kind: "const", ...head, type, value });
				break;
			}
			default:
		}
	}

	#doc(id: bigint): string {
		return this.#docs.get(id)?.doc ?? "";
	}

	#node(id: bigint): Node {
		const node = this.#nodes.get(id);
		if (node === undefined) throw new Error(`the compiler named node 0x${id.toString(16)} without giving it`);
		return node;
	}

	#structById(id: bigint): StructModel {
		this.#definition(this.#node(id));
		const found = this.#definitions.get(id);
		if (found?.kind !== "struct") throw new Error(`0x${id.toString(16)} is not a struct`);
		return found;
	}

	#struct(node: Node): Pick<StructModel, "dataBytes" | "pointers" | "discriminantOffset" | "fields"> {
		const members = this.#docs.get(node.id)?.members ?? [];
		const fields = node.struct.fields
			.map((field, index) => ({ order: field.codeOrder, model: this.#field(field, members[index] ?? "") }))
			.sort((a, b) => a.order - b.order)
			.map((it) => it.model);
		return {
			dataBytes: node.struct.dataWordCount * 8,
			pointers: node.struct.pointerCount,
			discriminantOffset: node.struct.discriminantCount > 0 ? node.struct.discriminantOffset * 2 : undefined,
			fields,
		};
	}

	#field(field: Field, doc: string): FieldModel {
		if (field.which() !== Field_Which.SLOT) {
			throw new Error(
				`${field.name}: groups and named unions are not generated; give it a struct of its own`,
			);
		}
		if (field.slot.hadExplicitDefault) throw new Error(`${field.name}: default values are not generated`);
		return {
			name: field.name,
			doc,
			type: this.#type(field.slot.type),
			offset: field.slot.offset,
			discriminant: field.discriminantValue === 0xffff ? undefined : field.discriminantValue,
		};
	}

	#methods(node: Node): MethodModel[] {
		const members = this.#docs.get(node.id)?.members ?? [];
		return node.interface.methods.map((method, ordinal) => ({
			name: method.name,
			ordinal,
			doc: members[ordinal] ?? "",
			params: this.#structById(method.paramStructType),
			results: this.#structById(method.resultStructType),
			annotations: method.annotations.map((it) => {
				const name = this.#node(it.id).displayName;
				return name.slice(name.lastIndexOf(":") + 1);
			}),
		}));
	}

	#type(type: Type): TypeModel {
		const which = type.which();
		const primitive = PRIMITIVES.get(which);
		if (primitive !== undefined) return { kind: primitive };
		switch (which) {
			case Type_Which.LIST:
				return { kind: "list", element: this.#type(type.list.elementType) };
			case Type_Which.ENUM:
				return { kind: "enum", id: type.enum.typeId };
			case Type_Which.STRUCT:
				return { kind: "struct", id: type.struct.typeId };
			case Type_Which.INTERFACE:
				return { kind: "interface", id: type.interface.typeId };
			default:
				throw new Error("AnyPointer is not generated");
		}
	}

	#value(type: TypeModel, value: Value): ConstValue {
		switch (type.kind) {
			case "bool":
				return value.bool;
			case "uint8":
				return value.uint8;
			case "uint16":
				return value.uint16;
			case "uint32":
				return value.uint32;
			case "uint64":
				return value.uint64;
			case "int32":
				return value.int32;
			case "int64":
				return value.int64;
			case "text":
				return value.text;
			case "list":
				return this.#listValue(type.element, value);
			default:
				throw new Error(`constants of type ${type.kind} are not generated`);
		}
	}

	#listValue(element: TypeModel, value: Value): ConstValue[] {
		if (element.kind !== "struct") throw new Error("only lists of structs are generated as constants");
		const model = this.#structById(element.id);
		class Item extends capnp.Struct {
			static override readonly _capnp = {
				displayName: model.name,
				id: model.id.toString(16),
				size: new capnp.ObjectSize(model.dataBytes, model.pointers),
			};
		}
		const { segment, byteOffset } = value.list;
		const items = new (capnp.CompositeList(Item))(segment, byteOffset);
		return items.map((item) =>
			Object.fromEntries(model.fields.map((field) => [field.name, this.#fieldValue(item, field)])),
		);
	}

	#fieldValue(item: capnp.Struct, { name, type, offset }: FieldModel): ConstValue {
		switch (type.kind) {
			case "uint16":
				return capnp.Struct.getUint16(offset * 2, item);
			case "int32":
				return capnp.Struct.getInt32(offset * 4, item);
			case "uint32":
				return capnp.Struct.getUint32(offset * 4, item);
			case "text":
				return capnp.Struct.getText(offset, item);
			case "enum": {
				const number = capnp.Struct.getUint16(offset * 2, item);
				return this.#node(type.id).enum.enumerants.get(number).name;
			}
			default:
				throw new Error(`${name}: constants of type ${type.kind} are not generated`);
		}
	}
}

const PRIMITIVES = new Map<Type_Which, Primitive>([
	[Type_Which.VOID, "void"],
	[Type_Which.BOOL, "bool"],
	[Type_Which.INT8, "int8"],
	[Type_Which.INT16, "int16"],
	[Type_Which.INT32, "int32"],
	[Type_Which.INT64, "int64"],
	[Type_Which.UINT8, "uint8"],
	[Type_Which.UINT16, "uint16"],
	[Type_Which.UINT32, "uint32"],
	[Type_Which.UINT64, "uint64"],
	[Type_Which.FLOAT32, "float32"],
	[Type_Which.FLOAT64, "float64"],
	[Type_Which.TEXT, "text"],
	[Type_Which.DATA, "data"],
]);

function splitOnce(text: string, separator: string): [string, string] {
	const at = text.indexOf(separator);
	return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}
