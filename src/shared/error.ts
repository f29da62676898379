import { ERRORS, type ErrorCode } from "./generated/errors.ts";

export { ERROR_CODES, ERRORS, type ErrorCode } from "./generated/errors.ts";

/** An error as it travels: in results, in events, in answers of the HTTP API. */
export interface ErrorValue {
	code: ErrorCode;
	message: string;
}

/** What the HTTP API answers. */
export interface ErrorBody extends ErrorValue {
	hint: string;
}

/** An expected failure: its code decides the HTTP status, the errno and the hint (schema/errors.capnp). */
export class HeadstartError extends Error {
	override readonly name = "HeadstartError";
	readonly code: ErrorCode;
	readonly #hint: string | undefined;

	/** `hint` replaces the code's own where something more exact can be said. */
	constructor(code: ErrorCode, message: string, options: { hint?: string; cause?: unknown } = {}) {
		super(message, options.cause === undefined ? {} : { cause: options.cause });
		this.code = code;
		this.#hint = options.hint;
	}

	get status(): number {
		return ERRORS[this.code].http;
	}

	body(): ErrorBody {
		return { code: this.code, message: this.message, hint: this.#hint ?? ERRORS[this.code].hint };
	}

	value(): ErrorValue {
		return { code: this.code, message: this.message };
	}

	/** Throws `error` unless its code is `ok`. */
	static check(error: ErrorValue): void {
		if (error.code !== "ok") throw new HeadstartError(error.code, error.message);
	}

	/** Anything that was thrown, as one of ours: what we do not know is `internal`. */
	static from(thrown: unknown, code: ErrorCode = "internal"): HeadstartError {
		if (thrown instanceof HeadstartError) return thrown;
		const message = thrown instanceof Error ? thrown.message : String(thrown);
		return new HeadstartError(code, message, { cause: thrown });
	}
}

/** Whether a text from outside names an error code. */
export function isErrorCode(code: string): code is ErrorCode {
	return Object.hasOwn(ERRORS, code);
}
