/** console.log and its like as log lines of the script. */
import type { Session } from "../script/session.ts";

const LEVELS = { debug: "debug", log: "info", info: "info", warn: "warn", error: "error" } as const;

export function forwardConsole(session: Session): void {
	for (const [method, level] of Object.entries(LEVELS)) {
		Reflect.set(console, method, (...values: unknown[]): void => {
			if (session.ended === undefined) session.log(values.map(format).join(" "), level);
		});
	}
}

function format(value: unknown): string {
	if (typeof value === "string") return value;
	if (value instanceof Error) return value.stack ?? String(value);
	try {
		return (
			JSON.stringify(value, (_, item: unknown) => (typeof item === "bigint" ? `${item}n` : item)) ??
			String(value)
		);
	} catch {
		return String(value);
	}
}
