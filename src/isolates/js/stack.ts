/** Names of the modules in a script's own isolate. */
export const SCRIPT_MODULE = "script.js";
export const API_MODULE = "headstart";
export const MAIN_MODULE = "shim.js";

/** A stack without the frames of our own modules, so that it shows the script's author their own code. */
export function scriptStack(stack: string): string {
	return stack
		.split("\n")
		.filter((line) => !FRAME.test(line) || line.includes(SCRIPT_MODULE))
		.join("\n");
}

const FRAME = /^\s+at /;
