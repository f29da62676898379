import { statSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { SetupError } from "./step.ts";

/** What `npm run demo` was asked for. */
export interface DemoOptions {
	/** Path of a photo in place of the example's. */
	image: string | undefined;
	/** Print one JSON object. */
	json: boolean;
}

const USAGE = "npm run demo -- [--image FILE] [--json]";

/**
 * Reads the demo's arguments, before the set-up: what is wrong with them is told at once. A relative path counts from where
 * npm was called (`INIT_CWD`). Throws {@link SetupError} for unknown options and for a photo that is not there.
 */
export function demoOptions(args: readonly string[]): DemoOptions {
	const { image, json = false } = parsed(args);
	return { image: image === undefined ? undefined : photo(image), json };
}

function parsed(args: readonly string[]): { image?: string | undefined; json?: boolean | undefined } {
	try {
		const options = { image: { type: "string" }, json: { type: "boolean" } } as const;
		return parseArgs({ args: [...args], options }).values;
	} catch (error) {
		const [what] = error instanceof Error ? error.message.split(/\. |\n/) : [String(error)];
		throw new SetupError(`${what}: ${USAGE}`);
	}
}

function photo(image: string): string {
	const path = resolve(process.env.INIT_CWD ?? "", image);
	const found = statSync(path, { throwIfNoEntry: false });
	if (found === undefined) throw new SetupError(`there is no file ${image}`);
	if (!found.isFile()) throw new SetupError(`${image} is no file`);
	return path;
}
