/** An initscript that cannot be built, in words for its author. `details` is the compiler's own output. */
export class BuildError extends Error {
	readonly details: string;

	constructor(message: string, details = "") {
		super(details === "" ? message : `${message}\n${details.trimEnd()}`);
		this.name = "BuildError";
		this.details = details;
	}
}
