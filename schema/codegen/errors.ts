import { type Emitter, GENERATED } from "./emitter.ts";
import type { ConstValue, SchemaModel } from "./model.ts";

export interface ErrorRow {
	code: string;
	number: number;
	http: number;
	errno: number;
	hint: string;
}

/** The table of `schema/errors.capnp`, in the order of the codes. Throws when a code has no row. */
export function errorTable(schema: SchemaModel): ErrorRow[] {
	const rows = new Map<ConstValue, { [field: string]: ConstValue }>();
	const table = schema.find("const", "errors").value;
	for (const row of Array.isArray(table) ? table : []) {
		if (row !== null && typeof row === "object" && !Array.isArray(row)) rows.set(row.code ?? null, row);
	}
	return schema.find("enum", "ErrorCode").values.map((code, number) => {
		const row = rows.get(code);
		if (row === undefined) throw new Error(`schema/errors.capnp: ${code} has no row in the table`);
		return {
			code,
			number,
			http: Number(row.http),
			errno: Number(row.errno),
			hint: String(row.hint),
		};
	});
}

/** `src/shared/generated/errors.ts`: the codes and what each means to HTTP, to clients and to people. */
export const emitErrors: Emitter = (schema) => {
	const table = errorTable(schema);
	const lines = [
		`// ${GENERATED}`,
		"",
		"/** The code of every error that one part of headstart tells another, by its number. */",
		`export const ERROR_CODES = [${table.map((it) => JSON.stringify(it.code)).join(", ")}] as const;`,
		"",
		"export type ErrorCode = (typeof ERROR_CODES)[number];",
		"",
		"export interface ErrorInfo {",
		"\t/** Its HTTP status at the host's API. */",
		"\treadonly http: number;",
		"\t/** Its Linux errno for clients in a container. */",
		"\treadonly errno: number;",
		"\t/** How a person mends it. */",
		"\treadonly hint: string;",
		"}",
		"",
		"export const ERRORS: Readonly<Record<ErrorCode, ErrorInfo>> = {",
		...table.map(
			(it) => `\t${it.code}: { http: ${it.http}, errno: ${it.errno}, hint: ${JSON.stringify(it.hint)} },`,
		),
		"};",
		"",
	];
	return [{ path: "src/shared/generated/errors.ts", text: lines.join("\n") }];
};
