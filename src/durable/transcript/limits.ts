import type { ErrorValue } from "../../shared/error.ts";

/** The codes of the limits that are held here, by their names in [initscript.limits]. */
const LIMITS = {
	connections: "initscriptConnections",
	rpcs: "initscriptRpcs",
	messages: "initscriptMessages",
	bytes: "initscriptBytes",
} as const;

/** A limit that would be exceeded: it says the use and the limit. */
export function beyond(what: keyof typeof LIMITS, use: number, most: number): ErrorValue {
	return { code: LIMITS[what], message: `${what}: ${use} of at most ${most}` };
}
