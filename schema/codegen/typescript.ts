/**
 * `src/bridge/generated/bridge.ts`: the structs that host and bridge exchange, as plain objects with a function that
 * reads and one that writes each, and a client class for each interface.
 */
import { type Emitter, GENERATED, pascal } from "./emitter.ts";
import type {
	EnumModel,
	FieldModel,
	InterfaceModel,
	MethodModel,
	SchemaModel,
	StructModel,
	TypeModel,
} from "./model.ts";

export const emitTypeScript: Emitter = (schema) => [
	{ path: "src/bridge/generated/bridge.ts", text: new TypeScript(schema).bridge() },
];

const NUMBER_BYTES = { uint8: 1, uint16: 2, uint32: 4, int32: 4, uint64: 8, float64: 8 } as const;

/** In the order of their dependence. */
const FILES = ["errors.capnp", "bridge.capnp"];

class TypeScript {
	readonly #schema: SchemaModel;

	constructor(schema: SchemaModel) {
		this.#schema = schema;
	}

	bridge(): string {
		const parts = [
			`// ${GENERATED}\n`,
			'import type { Call, Capability, Method } from "../rpc/connection.ts";',
			'import type { StructReader } from "../wire/reader.ts";',
			'import type { StructSize, StructWriter } from "../wire/writer.ts";\n',
			"/** Gives the capabilities in a struct by their pointer's index. */",
			"interface Capabilities {\n\tcapability(field: number): Capability;\n}\n",
		];
		for (const file of FILES) {
			for (const it of this.#schema.inFile(file)) {
				if (it.kind === "enum") parts.push(this.#enum(it));
				if (it.kind === "struct") parts.push(this.#struct(it, typeName(it.name)));
				if (it.kind === "interface") parts.push(this.#interface(it));
			}
		}
		return parts.join("\n");
	}

	#enum(it: EnumModel): string {
		const name = typeName(it.name);
		const values = it.values.map((value) => JSON.stringify(value)).join(", ");
		return [
			doc(it.doc),
			`export const ${constant(name)} = [${values}] as const;`,
			`export type ${name} = (typeof ${constant(name)})[number];`,
			`export function read${name}(number: number): ${name} {`,
			`\tconst value = ${constant(name)}[number];`,
			`\tif (value === undefined) throw new RangeError(\`${name} \${number} is not known\`);`,
			"\treturn value;",
			"}\n",
		].join("\n");
	}

	#struct(it: StructModel, name: string): string {
		const union = it.fields.filter((field) => field.discriminant !== undefined);
		const plain = it.fields.filter((field) => field.discriminant === undefined);
		const size = `export const ${constant(name)}: StructSize = { data: ${it.dataBytes}, pointers: ${it.pointers} };\n`;
		if (union.length === 0) {
			return [
				this.#type(it, name, plain),
				size,
				`export function read${name}(s: StructReader${this.#holdsCapabilities(it) ? ", c: Capabilities" : ""}): ${name} {`,
				`\treturn { ${this.#reads(plain)} };`,
				"}\n",
				`export function write${name}(s: StructWriter, it: ${name}): void {`,
				...plain.map((field) => `\t${this.#write(field, `it.${field.name}`)}`),
				"}\n",
			].join("\n");
		}
		return this.#unionStruct(it, name, plain, union) + size;
	}

	#unionStruct(it: StructModel, name: string, plain: FieldModel[], union: FieldModel[]): string {
		const offset = it.discriminantOffset ?? 0;
		const payload = union.filter((field) => field.type.kind !== "void");
		const variants = union.map((field) =>
			field.type.kind === "void"
				? `{ which: "${field.name}" }`
				: `{ which: "${field.name}"; ${field.name}: ${this.#typeOf(field.type)} }`,
		);
		const base = plain.map((field) => `${field.name}: ${this.#typeOf(field.type)}`).join("; ");
		return [
			doc(it.doc),
			`export type ${name} = ${plain.length > 0 ? `{ ${base} } & ` : ""}(\n\t| ${variants.join("\n\t| ")}\n);\n`,
			`export function read${name}(s: StructReader): ${name} {`,
			...(plain.length > 0 ? [`\tconst base = { ${this.#reads(plain)} };`] : []),
			`\tconst which = s.uint16(${offset});`,
			"\tswitch (which) {",
			...union.map((field) => {
				const value = payload.includes(field) ? `, ${this.#reads([field])}` : "";
				const start = plain.length > 0 ? "...base, " : "";
				return `\t\tcase ${field.discriminant}:\n\t\t\treturn { ${start}which: "${field.name}"${value} };`;
			}),
			`\t\tdefault:\n\t\t\tthrow new RangeError(\`${name} \${which} is not known\`);`,
			"\t}",
			"}\n",
			`export function write${name}(s: StructWriter, it: ${name}): void {`,
			...plain.map((field) => `\t${this.#write(field, `it.${field.name}`)}`),
			"\tswitch (it.which) {",
			...union.map((field) =>
				[
					`\t\tcase "${field.name}":`,
					`\t\t\ts.uint16(${offset}, ${field.discriminant});`,
					...(field.type.kind === "void" ? [] : [`\t\t\t${this.#write(field, `it.${field.name}`)}`]),
					"\t\t\tbreak;",
				].join("\n"),
			),
			"\t}",
			"}\n",
		].join("\n");
	}

	#type(it: StructModel, name: string, fields: FieldModel[]): string {
		const lines = fields.map((field) => {
			const comment = field.doc === "" ? "" : `\t${doc(field.doc).trim()}\n`;
			return `${comment}\t${field.name}: ${this.#typeOf(field.type)};`;
		});
		return [doc(it.doc), `export interface ${name} {`, ...lines, "}\n"].join("\n");
	}

	#interface(it: InterfaceModel): string {
		const name = `${typeName(it.name)}Client`;
		const structs: string[] = [];
		const methods: string[] = [];
		for (const method of it.methods) {
			const prefix = typeName(it.name) + pascal(method.name);
			structs.push(this.#struct(method.params, `${prefix}Params`));
			structs.push(this.#struct(method.results, `${prefix}Results`));
			methods.push(this.#method(it, method, prefix));
		}
		return [
			...structs,
			doc(it.doc),
			`export class ${name} {`,
			"\treadonly capability: Capability;\n",
			"\tconstructor(capability: Capability) {\n\t\tthis.capability = capability;\n\t}\n",
			methods.join("\n"),
			"\t[Symbol.dispose](): void {\n\t\tthis.capability[Symbol.dispose]();\n\t}",
			"}\n",
		].join("\n");
	}

	#method(it: InterfaceModel, method: MethodModel, prefix: string): string {
		const capabilities = this.#capabilityFields(method.results);
		const pipelined = capabilities.map((field) => `${field.name}: ${this.#typeOf(field.type)}`).join("; ");
		const extra = capabilities.length > 0 ? ` & { ${pipelined} }` : "";
		const params = method.params.fields.length > 0 ? `params: ${prefix}Params` : "";
		const write = params === "" ? "() => undefined" : `(s) => write${prefix}Params(s, params)`;
		const call = [
			`\t\tconst method: Method<${prefix}Results> = {`,
			`\t\t\tinterfaceId: 0x${it.id.toString(16)}n,`,
			`\t\t\tmethodId: ${method.ordinal},`,
			`\t\t\tparamsSize: ${constant(`${prefix}Params`)},`,
			`\t\t\twriteParams: ${write},`,
			`\t\t\treadResults: read${prefix}Results,`,
			"\t\t};",
		];
		const made = capabilities.map(
			(field) => `${field.name}: new ${this.#typeOf(field.type)}(call.capability(${field.offset}))`,
		);
		const result =
			capabilities.length > 0
				? [
						"\t\tconst call = this.capability.call(method);",
						`\t\treturn Object.assign(call, { ${made.join(", ")} });`,
					]
				: ["\t\treturn this.capability.call(method);"];
		return [
			indent(doc(method.doc)),
			`\t${method.name}(${params}): Call<${prefix}Results>${extra} {`,
			...call,
			...result,
			"\t}\n",
		].join("\n");
	}

	#typeOf(type: TypeModel): string {
		switch (type.kind) {
			case "list": {
				const element = this.#typeOf(type.element);
				return `${element}[]`;
			}
			case "enum":
			case "struct":
				return typeName(this.#schema.byId(type.id).name);
			case "interface":
				return `${typeName(this.#schema.byId(type.id).name)}Client`;
			case "bool":
				return "boolean";
			case "text":
				return "string";
			case "data":
				return "Uint8Array";
			case "int64":
			case "uint64":
				return "bigint";
			case "void":
				return "undefined";
			default:
				return "number";
		}
	}

	#reads(fields: FieldModel[]): string {
		return fields.map((field) => `${field.name}: ${this.#read(field)}`).join(", ");
	}

	#read({ type, offset, name }: FieldModel): string {
		switch (type.kind) {
			case "bool":
				return `s.bool(${offset})`;
			case "uint8":
			case "uint16":
			case "uint32":
			case "int32":
			case "uint64":
			case "float64":
				return `s.${type.kind}(${offset * NUMBER_BYTES[type.kind]})`;
			case "text":
			case "data":
				return `s.${type.kind}(${offset})`;
			case "enum":
				return `read${this.#typeOf(type)}(s.uint16(${offset * 2}))`;
			case "struct":
				return `read${this.#typeOf(type)}(s.struct(${offset}))`;
			case "interface":
				return `new ${this.#typeOf(type)}(c.capability(${offset}))`;
			case "list":
				if (type.element.kind === "text") return `s.list(${offset}).texts()`;
				if (type.element.kind === "struct") return `s.list(${offset}).map(read${this.#typeOf(type.element)})`;
		}
		throw new Error(`${name}: fields of this type are not generated`);
	}

	#write({ type, offset, name }: FieldModel, value: string): string {
		switch (type.kind) {
			case "bool":
				return `s.bool(${offset}, ${value});`;
			case "uint8":
			case "uint16":
			case "uint32":
			case "int32":
			case "uint64":
			case "float64":
				return `s.${type.kind}(${offset * NUMBER_BYTES[type.kind]}, ${value});`;
			case "text":
			case "data":
				return `s.${type.kind}(${offset}, ${value});`;
			case "enum":
				return `s.uint16(${offset * 2}, ${constant(this.#typeOf(type))}.indexOf(${value}));`;
			case "struct": {
				const struct = this.#typeOf(type);
				return `write${struct}(s.struct(${offset}, ${constant(struct)}), ${value});`;
			}
			case "interface":
				return `throw new TypeError("${name}: the host gives no capabilities");`;
			case "list":
				if (type.element.kind === "text") return `s.texts(${offset}, ${value});`;
				if (type.element.kind === "struct") {
					const struct = this.#typeOf(type.element);
					return `s.structs(${offset}, ${constant(struct)}, ${value}, write${struct});`;
				}
		}
		throw new Error(`${name}: fields of this type are not generated`);
	}

	#capabilityFields(it: StructModel): FieldModel[] {
		return it.fields.filter((field) => field.type.kind === "interface");
	}

	#holdsCapabilities(it: StructModel): boolean {
		return this.#capabilityFields(it).length > 0;
	}
}

function typeName(name: string): string {
	return name.split(".").map(pascal).join("");
}

/** The constant that belongs to a type: `RPC_DONE` of `RpcDone`. */
function constant(name: string): string {
	return name.replaceAll(/(?<=[a-z0-9])([A-Z])/g, "_$1").toUpperCase();
}

function doc(text: string): string {
	if (text === "") return "";
	return `/** ${text.replaceAll("*/", "* /").replaceAll(/\n/g, "\n * ")} */`;
}

function indent(text: string): string {
	return text === "" ? "" : text.replaceAll(/^/gm, "\t");
}
