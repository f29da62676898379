/** Emits the Rust declarations of the WASM imports. */

import { GENERATED, screaming } from "../emitter.ts";
import type { SchemaModel } from "../model.ts";
import { errorNames, type Method, readMethods, resultStructs } from "./mapping.ts";
import { snakeCase } from "./text.ts";

/** The text of `initscripts/rust/generated/imports.rs`. */
export function emitRust(schema: SchemaModel): string {
	const methods = readMethods(schema);
	const errors = errorNames(schema);
	const structs = resultStructs(methods).map((struct) => {
		const fields = struct.fields.map((it) => `    pub ${snakeCase(it.name)}: ${it.type},\n`);
		return `/// As it lies in memory.\n#[repr(C)]\n#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]\npub struct ${struct.name} {\n${fields.join("")}}\n`;
	});
	return [
		`// ${GENERATED}`,
		"/// Why a call failed. A call of another version of the API may give a number without a name.",
		"#[derive(Clone, Copy, PartialEq, Eq)]\npub struct ErrorCode(pub u32);\n",
		"impl ErrorCode {",
		...errors.map(
			(name, number) =>
				`    pub const ${screaming(name).replace(/^_/, "")}: ErrorCode = ErrorCode(${number});`,
		),
		"}\n",
		...structs,
		"/// The calls as they are: handles and lengths ≥ 0, or an `ErrorCode`, negated.",
		'pub mod imports {\n    #[link(wasm_import_module = "headstart")]\n    extern "C" {',
		methods.map(emitFunction).join("\n"),
		"    }\n}\n",
	].join("\n");
}

function emitFunction(method: Method): string {
	const parameters = method.parameters.map((it) => {
		const name = snakeCase(it.name);
		return it.type === "u32" || it.type === "u64"
			? `${name}: ${it.type}`
			: `${name}: *const u8, ${name}_length: u32`;
	});
	const { result } = method;
	if (result.kind === "data") parameters.push(`${snakeCase(result.name)}: *mut u8`, "capacity: u32");
	if (result.kind === "struct")
		parameters.push(`${snakeCase(result.name)}: *mut super::${result.struct.name}`);
	const name = snakeCase(method.name);
	const link = name === method.name ? "" : `        #[link_name = "${method.name}"]\n`;
	const doc = method.doc
		.split("\n")
		.filter((line) => line.trim() !== "")
		.map((line) => `        /// ${line.trim()}\n`);
	return `${doc.join("")}${link}        pub fn ${name}(${parameters.join(", ")}) -> i32;`;
}
