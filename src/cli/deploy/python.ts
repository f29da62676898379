import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { cp, mkdir, mkdtemp, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { CliError } from "../errors.ts";
import { built, inRoot } from "../paths.ts";
import { type FoundFile, findFiles } from "./files.ts";

/** The interpreter that a sandbox with base "host" sees. */
const PYTHON = "/usr/bin/python3";

/** A comment of requirements.txt: it names all that is needed, whatever its packages ask for. */
const NO_DEPS = /^# no-deps\b/m;

const run = promisify(execFile);
/** Far longer than large packages take on a slow line, ms. */
const PIP_TIMEOUT = 20 * 60_000;

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
	const requirements = await readIfThere(join(app, "requirements.txt"));
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
		if (requirements !== undefined) await installRequirements(app, requirements, making);
		for (const { path, from } of own) await cp(from, join(making, path), { recursive: true });
		await compilePython(making, "/app/lib").catch(() => undefined); // packages carry files that no interpreter takes
		await rename(making, folder);
	} catch (error) {
		await rm(making, { recursive: true, force: true });
		// Another deployment was making the same, and was first.
		if (!existsSync(folder)) throw error;
	}
}

async function installRequirements(app: string, requirements: string, target: string): Promise<void> {
	const assets = join(built, "assets");
	const pinned = await readIfThere(inRoot("apps/imgrec/requirements.txt"));
	if (requirements === pinned && existsSync(join(assets, "recipe"))) {
		await cp(join(assets, "site-packages"), target, { recursive: true });
		return;
	}
	const quiet = ["--quiet", "--disable-pip-version-check", "--root-user-action=ignore", "--no-compile"];
	process.stderr.write(`pip installs what ${join(app, "requirements.txt")} names, once\n`);
	try {
		const alone = NO_DEPS.test(requirements) ? ["--no-deps"] : [];
		const install = ["-m", "pip", "install", ...quiet, ...alone, "--target", target];
		await run(PYTHON, [...install, "-r", join(app, "requirements.txt")], { timeout: PIP_TIMEOUT });
	} catch (error) {
		const lines = error instanceof Error && "stderr" in error ? String(error.stderr).trim().split("\n") : [];
		throw new CliError(
			`pip could not install ${join(app, "requirements.txt")}`,
			lines.findLast((line) => line.startsWith("ERROR")) ?? `check the network, and that ${PYTHON} has pip`,
		);
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

async function readIfThere(path: string): Promise<string | undefined> {
	return existsSync(path) ? readFile(path, "utf8") : undefined;
}
