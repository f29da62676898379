/** The ways in which an initscript's call, or the script itself, does not go on. */
import type { ScriptError } from "../protocol.ts";
import { limits } from "./limits.ts";

/** A call failed. The script sees it (in WASM as a negative result) and may go on. */
export class ScriptFailure extends Error {
	readonly code: string;

	constructor(code: string, message: string) {
		super(message);
		this.name = "ScriptFailure";
		this.code = code;
	}

	static from({ code, message }: ScriptError): ScriptFailure {
		return new ScriptFailure(code, message);
	}
}

/** Unwinds a script that called `exit`. */
export class ScriptEnd extends Error {
	readonly status: number;

	constructor(status: number) {
		super(`exit(${status})`);
		this.name = "ScriptEnd";
		this.status = status;
	}
}

/** The limits that end a script, by their errors (schema/errors.capnp); initscriptLimit is the number of its calls. */
export type LimitCode = "initscriptLimit" | "initscriptBytes" | "initscriptCpu" | "initscriptMemory";

/** A script went over one of its bounds: it is ended. The message says the limit and the use. */
export class LimitReached extends Error {
	readonly code: LimitCode;

	constructor(code: LimitCode, message: string) {
		super(message);
		this.name = "LimitReached";
		this.code = code;
	}
}

/** The name, message and stack of whatever was thrown, within bounds. */
export function describe(thrown: unknown): { message: string; stack?: string } {
	if (!(thrown instanceof Error))
		return { message: cut(`threw ${String(thrown)}`, limits.messageCharacters) };
	const message = cut(`${thrown.name}: ${thrown.message}`, limits.messageCharacters);
	return thrown.stack === undefined
		? { message }
		: { message, stack: cut(thrown.stack, limits.stackCharacters) };
}

export function cut(text: string, characters: number): string {
	return text.length <= characters ? text : `${text.slice(0, characters)}…`;
}
