import { table } from "../table.ts";
import type { BinaryTable } from "./tables.ts";

/** The head of a table, and its rows: bytes in KB of 1000, as the paper counts them. */
export function binaryCells({ components, total_bytes, initscript_bytes, paper }: BinaryTable): string[][] {
	const kb = (bytes: number | undefined): string => (bytes === undefined ? "" : (bytes / 1000).toFixed(1));
	const both = initscript_bytes !== undefined;
	const row = (name: string, own: string, script: string): string[] => [name, own, ...(both ? [script] : [])];
	return [
		row("component", both ? "bridge, KB" : "KB", "initscript, KB"),
		...components.map(({ name, bytes, initscript_bytes: script }) =>
			row(name, bytes === 0 ? "" : kb(bytes), kb(script)),
		),
		row("total", kb(total_bytes), kb(initscript_bytes)),
		row("the paper’s total", `${paper.total_kb}`, `${paper.initscript_kb ?? ""}`),
	];
}

export function printBinary(binary: BinaryTable): string {
	return `${binary.title}\n\n${table(binaryCells(binary))}`;
}
