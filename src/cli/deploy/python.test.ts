import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { expect, test } from "vitest";
import { pythonLibrary } from "./python.ts";

test("deployments at one time each get the one library that they make", async () => {
	const app = await mkdtemp(join(tmpdir(), "hst-python-"));
	// Of no other deployment.
	await writeFile(join(app, "requirements.txt"), `# ${app}\n`);
	const [library, ...others] = await Promise.all(Array.from({ length: 3 }, () => pythonLibrary(app)));
	const first = library?.find(({ path }) => path === "headstart/__init__.py");
	const folder = dirname(dirname(first?.from ?? ""));
	try {
		expect(basename(dirname(folder))).toBe("lib");
		for (const other of others) expect(other).toEqual(library);
		const made = (await readdir(dirname(folder))).filter((name) => name.startsWith(basename(folder)));
		expect(made).toEqual([basename(folder)]);
	} finally {
		await rm(folder, { recursive: true });
		await rm(app, { recursive: true });
	}
}, 60_000);
