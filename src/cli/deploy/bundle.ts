import { cp, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { CliError } from "../errors.ts";
import { type FoundFile, findFiles } from "./files.ts";
import { compilePython, isLeftover, pythonLibrary } from "./python.ts";
import { type Bundle, packBundle } from "./tar.ts";

/**
 * Packs an application's folder: its files, and for Python what it imports in `lib/`. Left out: headstart.toml, headstart-image.toml, the
 * initscript (`initscript.*`, and the file that [initscript] names), hidden files and what running leaves behind.
 *
 * `use` gets the bundle's file, which is removed when it returns. `more`: further files of it. `mayBeEmpty`: an image has them.
 */
export async function withBundle<T>(
	folder: string,
	initscript: string | undefined,
	use: (bundle: Bundle) => Promise<T>,
	more: readonly FoundFile[] = [],
	mayBeEmpty = false,
): Promise<T> {
	const app = resolve(folder);
	const script = initscript === undefined ? undefined : resolve(app, initscript);
	const wanted = (path: string, name: string): boolean =>
		!isLeftover(name) &&
		!(
			path === "headstart.toml" ||
			path === "headstart-image.toml" ||
			path.startsWith("initscript.") ||
			join(app, path) === script
		);
	const own = await findFiles(app, wanted);
	if (own.length === 0 && !mayBeEmpty) throw new CliError(`${folder} has no application files`);
	const work = await mkdtemp(join(tmpdir(), "headstart-bundle-"));
	try {
		const files = own.some(({ path }) => path.endsWith(".py")) ? await withPython(app, own, work) : own;
		return await use(await packBundle([...files, ...more], join(work, "bundle.tar")));
	} finally {
		await rm(work, { recursive: true, force: true });
	}
}

async function withPython(app: string, own: readonly FoundFile[], work: string): Promise<FoundFile[]> {
	const stage = join(work, "app");
	await mkdir(stage);
	for (const { path, from } of own) await cp(from, join(stage, path));
	await compilePython(stage, "/app");
	const library = await pythonLibrary(app);
	return [
		...(await findFiles(stage, () => true)),
		...library.map(({ path, from }) => ({ path: `lib/${path}`, from })),
	];
}
