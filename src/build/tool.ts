/** Runs a compiler. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { BuildError } from "./error.ts";

/** How long a compiler may take, milliseconds. */
const TIMEOUT_MS = 120_000;

/** Throws {@link BuildError} with what the compiler wrote, or with `missing` when there is no such program. */
export async function runTool(
	program: string,
	args: string[],
	{ cwd, failed, missing }: { cwd: string; failed: string; missing: string },
): Promise<void> {
	const child = spawn(program, args, { cwd, stdio: ["ignore", "ignore", "pipe"], timeout: TIMEOUT_MS });
	const output = text(child.stderr);
	try {
		const [status] = await once(child, "close");
		if (status !== 0) throw new BuildError(failed, await output);
	} catch (thrown) {
		if (thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT")
			throw new BuildError(missing);
		throw thrown;
	}
}
