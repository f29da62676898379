import type { Failure } from "./native.ts";

/** `code` is its name in schema/errors.capnp ("miss", "deadline", …), `hint` how to mend it, `errno` Linux's number. */
export class HeadstartError extends Error {
	override readonly name = "HeadstartError";
	readonly code: string;
	readonly hint: string;
	readonly errno: number;

	constructor({ code, errno, hint, message }: Failure) {
		super(`${code}: ${message}`);
		this.code = code;
		this.hint = hint;
		this.errno = errno;
	}
}
