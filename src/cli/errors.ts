import { HeadstartError } from "../shared/error.ts";

/** What a person has to know and mend: printed as one line, without a stack. */
export class CliError extends Error {
	override name = "CliError";
	readonly hint: string | undefined;

	constructor(message: string, hint?: string) {
		super(message);
		this.hint = hint;
	}
}

/** The system's error code (ENOENT, …) of something that was thrown. */
export function systemCode(error: unknown): string | undefined {
	return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

/** The line that an error is printed as: known system errors are said in words, with what to do. */
export function describe(error: unknown): string {
	if (error instanceof CliError) return error.hint ? `${error.message}: ${error.hint}` : error.message;
	if (error instanceof HeadstartError) return `${error.message}: ${error.body().hint}`;
	switch (systemCode(error)) {
		case "ENOSPC":
			return "the disk is full: free some space, then try again";
		case "EACCES":
		case "EPERM":
			return `${message(error)}: run this as root, or choose other directories with --run and --state`;
		default:
			return message(error);
	}
}

function message(error: unknown): string {
	return error instanceof Error ? error.message : String(error);
}
