import { type Emitter, GENERATED, screaming } from "./emitter.ts";
import { errorTable } from "./errors.ts";

/** `clients/c/headstart_numbers.h`: numbers of the application's socket, and the errors. */
export const emitC: Emitter = (schema) => {
	const lines = [`/* ${GENERATED} */`, "#ifndef HEADSTART_NUMBERS_H", "#define HEADSTART_NUMBERS_H", ""];
	for (const it of schema.inFile("app.capnp")) {
		if (it.kind === "const") lines.push(`#define HSC_${screaming(it.name)} ${String(it.value)}u`);
		if (it.kind === "enum") {
			lines.push(...it.values.map((value, number) => `#define HSC_OP_${screaming(value)} ${number}`));
		}
	}
	const errors = errorTable(schema);
	lines.push("", "enum hsc_code {");
	lines.push(...errors.map((it) => `\tHSC_${screaming(it.code)} = ${it.number},`), "};", "");
	lines.push("/* X(number, name, errno, how to mend it) for each error. */", "#define HSC_ERRORS(X) \\");
	lines.push(
		...errors.map(
			(it, at) =>
				`\tX(${it.number}, "${it.code}", ${it.errno}, ${JSON.stringify(it.hint)})${at + 1 < errors.length ? " \\" : ""}`,
		),
	);
	lines.push("", "#endif", "");
	return [{ path: "clients/c/headstart_numbers.h", text: lines.join("\n") }];
};
