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

/** A script went over one of its bounds: it is ended. */
export class LimitReached extends Error {
	constructor(message: string) {
		super(message);
		this.name = "LimitReached";
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
