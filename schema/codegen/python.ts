import { type Emitter, GENERATED, screaming } from "./emitter.ts";
import { errorTable } from "./errors.ts";

/** `clients/python/headstart/_generated.py`: numbers of the application's socket, and the errors. */
export const emitPython: Emitter = (schema) => {
	const lines = [`# ${GENERATED}`, ""];
	for (const it of schema.inFile("app.capnp")) {
		if (it.kind === "const") lines.push(`${screaming(it.name)} = ${String(it.value)}`);
		if (it.kind === "enum") {
			lines.push(...it.values.map((value, number) => `OP_${screaming(value)} = ${number}`));
		}
	}
	lines.push("", "# number: (code, errno, hint)", "ERRORS = {");
	for (const it of errorTable(schema)) {
		lines.push(`    ${it.number}: (${JSON.stringify(it.code)}, ${it.errno}, ${JSON.stringify(it.hint)}),`);
	}
	lines.push("}", "");
	return [{ path: "clients/python/headstart/_generated.py", text: lines.join("\n") }];
};
