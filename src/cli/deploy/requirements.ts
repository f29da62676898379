import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { CliError } from "../errors.ts";
import { built, inRoot } from "../paths.ts";

/** The interpreter that a sandbox with base "host" sees. */
export const PYTHON = "/usr/bin/python3";

/** Far longer than large packages take on a slow line, ms. */
const PIP_TIMEOUT = 20 * 60_000;
/** A comment of requirements.txt: it names all that is needed, whatever its packages ask for. */
const NO_DEPS = /^# no-deps\b/m;

const run = promisify(execFile);

/** What an application's requirements.txt says; undefined where it has none. */
export async function requirementsOf(app: string): Promise<string | undefined> {
	const path = join(app, "requirements.txt");
	return existsSync(path) ? readFile(path, "utf8") : undefined;
}

/** Whether what these applications require is there, so that deploying them needs no network. */
export async function areInstalled(apps: readonly string[]): Promise<boolean> {
	for (const app of apps) {
		const requirements = await requirementsOf(app);
		if (requirements !== undefined && !existsSync(await folderOf(requirements))) return false;
	}
	return true;
}

/**
 * A folder with the packages of an application's requirements.txt, and all that they ask for. Installed once for one text and
 * interpreter, then taken from `.headstart/site`. Throws a {@link CliError} with what pip says.
 */
export async function installed(app: string, requirements: string): Promise<string> {
	const folder = await folderOf(requirements);
	if (existsSync(folder)) return folder;
	await mkdir(join(built, "site"), { recursive: true });
	const making = await mkdtemp(`${folder}-`);
	try {
		await install(join(app, "requirements.txt"), NO_DEPS.test(requirements), making);
		await rename(making, folder);
	} catch (error) {
		await rm(making, { recursive: true, force: true });
		// Another deployment was installing the same, and was first.
		if (!existsSync(folder)) throw error;
	}
	return folder;
}

/** The example application's packages are made by set-up, without what inference does not import. */
async function folderOf(requirements: string): Promise<string> {
	const assets = join(built, "assets");
	if (requirements === (await requirementsOf(inRoot("apps/imgrec"))) && existsSync(join(assets, "recipe"))) {
		return join(assets, "site-packages");
	}
	const version = (await run(PYTHON, ["-VV"])).stdout;
	const key = createHash("sha256").update(`${version}\0${requirements}`).digest("hex");
	return join(built, "site", key.slice(0, 24));
}

async function install(requirements: string, alone: boolean, target: string): Promise<void> {
	process.stderr.write(`pip installs what ${requirements} names, once\n`);
	const quiet = ["--quiet", "--disable-pip-version-check", "--root-user-action=ignore", "--no-compile"];
	try {
		const how = ["-m", "pip", "install", ...quiet, ...(alone ? ["--no-deps"] : []), "--target", target];
		await run(PYTHON, [...how, "-r", requirements], { timeout: PIP_TIMEOUT });
	} catch (error) {
		const lines = error instanceof Error && "stderr" in error ? String(error.stderr).trim().split("\n") : [];
		throw new CliError(
			`pip could not install ${requirements}`,
			lines.findLast((line) => line.startsWith("ERROR")) ?? `check the network, and that ${PYTHON} has pip`,
		);
	}
}
