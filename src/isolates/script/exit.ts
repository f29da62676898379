/** Checks the end that a script's own isolate reports: only well-formed values of bounded size go on to the host. */
import type { ScriptExit } from "../protocol.ts";
import { cut, type LimitCode } from "./failure.ts";
import { limits } from "./limits.ts";
import type { HostPort } from "./port.ts";

/** Throws when the value is no end of a script. */
export function cleanExit(value: unknown, port: HostPort): ScriptExit {
	if (typeof value !== "object" || value === null)
		throw new TypeError("the isolate gave no end of its script");
	const field = (name: string): unknown => (value as Record<string, unknown>)[name];
	const ops = port.clean(field("ops"));
	const end = field("end");
	if (end === "exit") return { ops, end, status: Number(field("status")) >>> 0 };
	if (end !== "trap" && end !== "limit") throw new TypeError("the isolate gave no end of its script");
	const error = {
		code: end === "trap" ? "initscriptTrapped" : limitCode(field("error")),
		message: errorMessage(field("error")),
	};
	const stack = field("stack");
	if (typeof stack !== "string") return { ops, end, error };
	return { ops, end, error, stack: cut(stack, limits.stackCharacters) };
}

/** Of the limits, a script's own isolate knows only what the script has said. */
function limitCode(error: unknown): LimitCode {
	const code: unknown = typeof error === "object" && error !== null ? Reflect.get(error, "code") : undefined;
	return code === "initscriptBytes" ? code : "initscriptLimit";
}

function errorMessage(error: unknown): string {
	const message: unknown =
		typeof error === "object" && error !== null ? Reflect.get(error, "message") : undefined;
	return cut(typeof message === "string" ? message : "", limits.messageCharacters);
}
