/** Builds an image from headstart-image.toml, without Docker: the same folder and packages always give the same bytes. */
import { execFile } from "node:child_process";
import { createReadStream, existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { buildIsolate } from "../../build/isolate.ts";
import { CliError } from "../errors.ts";
import { findProgram } from "../find-program.ts";
import { type Definition, readDefinition } from "./definition.ts";
import { addLayer, createLayout, type Descriptor, finish, type Layer } from "./layout.ts";
import { below, EPOCH, packLayer } from "./tar.ts";

const run = promisify(execFile);
const HOOKS = "/usr/share/mmdebstrap/hooks/merged-usr";
/** Of Debian's own, what no application reads. */
const DOCUMENTATION = ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*"];
/** What says where and when the packages came from. */
const TRACES = [
	"etc/apt",
	"var/lib/apt",
	"var/cache",
	"var/log",
	"etc/machine-id",
	"etc/hostname",
	"etc/resolv.conf",
];

export interface BuiltImage {
	manifest: Descriptor;
	layers: Layer[];
}

/** Builds `folder`'s image into `layout`, an OCI layout that is made anew. */
export async function buildImage(folder: string, layout: string): Promise<BuiltImage> {
	const definition = await readDefinition(folder);
	await mkdir(layout, { recursive: true });
	await createLayout(layout);
	const work = await mkdtemp(join(tmpdir(), "headstart-image-"));
	try {
		const layers: Layer[] = [];
		const { debian, pypi, files, modules, config } = definition;
		if (debian !== undefined) layers.push(await debianLayer(layout, debian, join(work, "debian.tar")));
		if (pypi !== undefined) layers.push(await pypiLayer(layout, pypi.packages, join(work, "pypi")));
		if (modules !== undefined) {
			await buildIsolate(resolve(folder, modules), join(work, "modules"));
			layers.push(await addLayer(layout, packLayer(await below(join(work, "modules"), "/app"))));
		}
		if (files.length > 0) {
			const placed = await Promise.all(files.map(({ from, to }) => below(resolve(folder, from), to)));
			layers.push(await addLayer(layout, packLayer(placed.flat())));
		}
		return { manifest: await finish(layout, layers, config), layers };
	} finally {
		await rm(work, { recursive: true, force: true });
	}
}

/** Packages by mmdebstrap, from where this machine has its own. */
async function debianLayer(
	layout: string,
	{ packages, variant, exclude }: NonNullable<Definition["debian"]>,
	archive: string,
): Promise<Layer> {
	const program = findProgram("mmdebstrap");
	if (program === undefined) throw new CliError("mmdebstrap is not installed", "apt-get install mmdebstrap");
	const sources = await aptSources();
	const merged = existsSync(HOOKS) ? [`--hook-dir=${HOOKS}`] : [];
	const excluded = [...DOCUMENTATION, ...exclude].map((path) => `--dpkgopt=path-exclude=${path}`);
	const removed = TRACES.map((path) => `rm -rf "$1/${path}"`).join("; ");
	const args = [
		"--quiet",
		"--mode=root",
		`--variant=${variant}`,
		`--include=${packages.join(",")}`,
		...merged,
		...excluded,
		`--customize-hook=${removed}`,
		await suite(),
		archive,
		...sources,
	];
	await tool(program, args, { ...process.env, SOURCE_DATE_EPOCH: String(EPOCH) });
	return addLayer(layout, createReadStream(archive));
}

/** The release of this machine, whose apt configuration is used. */
async function suite(): Promise<string> {
	const release = await readFile("/etc/os-release", "utf8").catch(() => "");
	const [, name] = /^VERSION_CODENAME=(.+)$/m.exec(release) ?? [];
	if (name === undefined || !/^ID=debian$/m.test(release))
		throw new CliError("this is not Debian", "make the image elsewhere, or of files only");
	return name;
}

async function aptSources(): Promise<string[]> {
	const folder = "/etc/apt/sources.list.d";
	const names = existsSync(folder) ? await readdir(folder) : [];
	const own = names.filter((name) => /\.(?:list|sources)$/.test(name)).map((name) => join(folder, name));
	const all = ["/etc/apt/sources.list", ...own.sort()].filter(existsSync);
	const debian: string[] = [];
	// Other vendors' are not for images.
	for (const path of all) if (/debian/.test(await readFile(path, "utf8"))) debian.push(path);
	if (debian.length === 0) throw new CliError("/etc/apt has no sources of Debian's packages");
	return debian;
}

/** Packages of Python, where Debian's interpreter looks for what is not its own. */
async function pypiLayer(layout: string, packages: readonly string[], stage: string): Promise<Layer> {
	const { stdout } = await run("/usr/bin/python3", [
		"-c",
		"import sys; print('%d.%d' % sys.version_info[:2])",
	]);
	const version = stdout.trim();
	const args = ["-m", "pip", "install", "--quiet", "--no-compile", "--no-warn-script-location"];
	args.push("--disable-pip-version-check", "--only-binary=:all:", `--python-version=${version}`);
	await tool("/usr/bin/python3", [...args, "--target", stage, ...packages], process.env);
	const wanted = (await below(stage, `/usr/local/lib/python${version}/dist-packages`)).filter(
		// It names the folder that the packages were put into first.
		({ path }) => !/\.dist-info\/(?:RECORD|direct_url\.json)$/.test(path),
	);
	return addLayer(layout, packLayer(wanted));
}

async function tool(program: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<void> {
	try {
		await run(program, args, { env, maxBuffer: 64 << 20 });
	} catch (error) {
		const said = error instanceof Error && "stderr" in error ? String(error.stderr).trim().split("\n") : [];
		const last = said.slice(-5).join("\n") || (error instanceof Error ? error.message : String(error));
		throw new CliError(`${program} failed:\n${last}`);
	}
}
