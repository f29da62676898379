/**
 * A text of somebody else's as a terminal may have it: what would move its cursor or change its state is spelled out.
 *
 * @example plain("\u001b[2J") // "\\x1b[2J"
 */
export function plain(text: string): string {
	return text.replace(/\p{Cc}/gu, (control) =>
		control === "\n" || control === "\t"
			? control
			: `\\x${control.charCodeAt(0).toString(16).padStart(2, "0")}`,
	);
}

/** As {@link plain}, on one line. */
export function plainLine(text: string): string {
	return plain(text).replaceAll("\n", "\\n");
}

/** A value of JSON with all its texts {@link plain}. */
export function plainTexts<T>(value: T): T {
	return JSON.parse(
		JSON.stringify(value, (_, it: unknown) => (typeof it === "string" ? plain(it) : it)),
	) as T;
}
