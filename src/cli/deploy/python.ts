import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { cp, mkdir, mkdtemp, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { CliError } from "../errors.ts";
import { built, inRoot } from "../paths.ts";
import { type FoundFile, findFiles } from "./files.ts";
import { installed, PYTHON, requirementsOf } from "./requirements.ts";

const run = promisify(execFile);

/**
 * What a Python application imports beside its own files: headstart's packages and those that requirements.txt pins, with
 * their byte code (a sandbox could not write it). Made once for the same inputs, then taken from `.headstart/lib`.
 *
 * @returns the files, to lie in the bundle's `lib/`
 */
export async function pythonLibrary(app: string): Promise<FoundFile[]> {
	return findFiles(await pythonLibraryFolder(app), () => true);
}

/** The folder of {@link pythonLibrary}: a PYTHONPATH to try an application with. */
export async function pythonLibraryFolder(app: string): Promise<string> {
	const own = await findFiles(inRoot("clients/python"), isSource);
	const requirements = await requirementsOf(app);
	const key = createHash("sha256")
		.update(requirements ?? "")
		.update((await run(PYTHON, ["-VV"])).stdout);
	for (const file of own) key.update(`\0${file.path}\0`).update(await readFile(file.from));
	const folder = join(built, "lib", key.digest("hex").slice(0, 24));
	if (!existsSync(folder)) await makeLibrary(folder, own, app, requirements);
	return folder;
}

/** Our packages without their tests. */
function isSource(path: string, name: string): boolean {
	return path.includes("/")
		? name !== "tests" && !isLeftover(name) && !name.startsWith("test_")
		: !name.includes(".") && name !== "tests";
}

/** What running or editing leaves in a folder. */
export function isLeftover(name: string): boolean {
	return name === "__pycache__" || name === "node_modules" || name.startsWith(".") || name.endsWith(".pyc");
}

async function makeLibrary(
	folder: string,
	own: readonly FoundFile[],
	app: string,
	requirements: string | undefined,
): Promise<void> {
	await mkdir(join(built, "lib"), { recursive: true });
	const making = await mkdtemp(`${folder}-`);
	try {
		if (requirements !== undefined) {
			await cp(await installed(app, requirements), making, { recursive: true });
		}
		for (const { path, from } of own) await cp(from, join(making, path), { recursive: true });
		await compilePython(making, "/app/lib").catch(() => undefined); // packages carry files that no interpreter takes
		await rename(making, folder);
	} catch (error) {
		await rm(making, { recursive: true, force: true });
		// Another deployment was making the same, and was first.
		if (!existsSync(folder)) throw error;
	}
}

/** Writes byte code beside the sources, which is valid whatever their times: `folder` will be seen at `seenAt`. */
export async function compilePython(folder: string, seenAt: string): Promise<void> {
	const how = ["-q", "-j", "0", "--invalidation-mode", "unchecked-hash", "-s", folder, "-p", seenAt];
	try {
		await run(PYTHON, ["-m", "compileall", ...how, folder]);
	} catch (error) {
		const said = error instanceof Error && "stdout" in error ? String(error.stdout).trim() : String(error);
		throw new CliError(`a Python file of the application cannot be compiled: ${said.split("\n").join(" ")}`);
	}
}
