import { type Emitter, GENERATED, pascal, screaming } from "./emitter.ts";
import { errorTable } from "./errors.ts";

/** `clients/rust/src/numbers.rs`: numbers of the application's socket, and the errors. */
export const emitRust: Emitter = (schema) => {
	const lines = [`//! ${GENERATED}`, ""];
	for (const it of schema.inFile("app.capnp")) {
		if (it.kind === "const") lines.push(`pub(crate) const ${screaming(it.name)}: u32 = ${String(it.value)};`);
		if (it.kind === "enum") {
			lines.push(
				...it.values.map((value, number) => `pub(crate) const OP_${screaming(value)}: u16 = ${number};`),
			);
		}
	}
	const errors = errorTable(schema);
	lines.push("", "/// What went wrong, as every part of headstart names it.");
	lines.push("#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]", "#[non_exhaustive]", "pub enum Code {");
	lines.push(...errors.map((it) => `    ${pascal(it.code)} = ${it.number},`), "}", "");
	lines.push("/// By number: the code, its name, its errno and how a person mends it.");
	lines.push(`pub(crate) const ERRORS: [(Code, &str, i32, &str); ${errors.length}] = [`);
	for (const it of errors) {
		lines.push(
			"    (",
			`        Code::${pascal(it.code)},`,
			`        "${it.code}",`,
			`        ${it.errno},`,
			`        ${JSON.stringify(it.hint)},`,
			"    ),",
		);
	}
	lines.push("];", "");
	return [{ path: "clients/rust/src/numbers.rs", text: lines.join("\n") }];
};
