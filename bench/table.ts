/** Rows of text, columns aligned: the first to the left, the others to the right. The first row is the head. */
export function table(rows: readonly (readonly string[])[]): string {
	const widths: number[] = [];
	for (const row of rows) {
		row.forEach((cell, column) => {
			widths[column] = Math.max(widths[column] ?? 0, cell.length);
		});
	}
	const line = (row: readonly string[]): string =>
		row
			.map((cell, column) =>
				column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
			)
			.join("  ")
			.trimEnd();
	const [head, ...rest] = rows.map(line);
	if (head === undefined) return "";
	return [head, "-".repeat(head.length), ...rest].join("\n");
}

/** The same as Markdown has it. */
export function markdown(rows: readonly (readonly string[])[]): string {
	const line = (row: readonly string[]): string =>
		`| ${row.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
	const [head, ...rest] = rows;
	if (head === undefined) return "";
	return [line(head), line(head.map((_, column) => (column === 0 ? "---" : "---:"))), ...rest.map(line)].join(
		"\n",
	);
}
