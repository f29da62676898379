/** The paper's components of a binary, and which crates of ours they are. */
import type { Symbols } from "./symbols.ts";

export interface Component {
	name: string;
	bytes: number;
}

/** A component's crates; a name that ends in "*" is a beginning. */
export type Grouping = Record<string, readonly string[]>;

/** What handles panics, in sections and crates: the paper's "Exceptions". */
const UNWINDING_SECTIONS = [".eh_frame", ".eh_frame_hdr", ".gcc_except_table"];
const UNWINDING_CRATES = [
	"unwinding",
	"gimli",
	"addr2line",
	"miniz_oxide",
	"adler2",
	"rustc_demangle",
	"object",
];
export const EXCEPTIONS = "Exceptions (unwind tables, back traces)";
export const OTHER_CRATES = "Other crates";
export const STANDARD_LIBRARY = "Standard library";
export const MISC = "Misc (constants, relocations, what has no symbol)";

/** The components of a program, in the grouping's order. They sum up to the stripped program. */
export function components({ crates, sections, stripped }: Symbols, grouping: Grouping): Component[] {
	const groups = new Map<string, number>(Object.keys(grouping).map((name) => [name, 0]));
	const add = (name: string, bytes: number): void => {
		groups.set(name, (groups.get(name) ?? 0) + bytes);
	};
	for (const [crate, bytes] of crates) add(groupOf(crate, grouping), bytes);
	for (const section of UNWINDING_SECTIONS) add(EXCEPTIONS, sections.get(section) ?? 0);
	const named = [...groups.values()].reduce((sum, bytes) => sum + bytes, 0);
	add(MISC, Math.max(0, stripped - named));
	return [...groups].map(([name, bytes]) => ({ name, bytes }));
}

function groupOf(crate: string, grouping: Grouping): string {
	const matches = (pattern: string): boolean =>
		pattern.endsWith("*") ? crate.startsWith(pattern.slice(0, -1)) : pattern === crate;
	const found = Object.entries(grouping).find(([, patterns]) => patterns.some(matches));
	if (found !== undefined) return found[0];
	if (UNWINDING_CRATES.includes(crate)) return EXCEPTIONS;
	return crate === "std" ? STANDARD_LIBRARY : OTHER_CRATES;
}
