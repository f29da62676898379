import type { SchemaModel } from "./model.ts";

/** One generated file; `path` is relative to the repository. */
export interface GeneratedFile {
	path: string;
	text: string;
}

/** Makes files of the schema. Pure: `main.ts` writes what has changed. */
export type Emitter = (schema: SchemaModel) => GeneratedFile[];

/** The line that opens every generated file, without its language's comment marks. */
export const GENERATED = "Generated from schema/ by `npm run generate`. Do not edit.";

/** `DoThis` of `doThis`. */
export function pascal(name: string): string {
	return name.charAt(0).toUpperCase() + name.slice(1);
}

/** `DO_THIS` of `doThis`. */
export function screaming(name: string): string {
	return name.replaceAll(/([A-Z])/g, "_$1").toUpperCase();
}
