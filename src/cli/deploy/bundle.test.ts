import { execFile } from "node:child_process";
import { mkdtemp, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, test } from "vitest";
import { withBundle } from "./bundle.ts";

const run = promisify(execFile);
let app: string;

beforeEach(async () => {
	app = await mkdtemp(join(tmpdir(), "hs-app-"));
	await writeFile(join(app, "function.py"), "def handler(event):\n    return event\n");
	await writeFile(join(app, "headstart.toml"), 'name = "x"\n');
	await writeFile(join(app, "initscript.ts"), "export default () => {};\n");
	await writeFile(join(app, ".env"), "SECRET=1\n");
});

afterEach(() => rm(app, { recursive: true }));

test("the same contents give the same bytes", async () => {
	const first = await withBundle(app, "initscript.ts", async ({ digest }) => digest);
	await utimes(join(app, "function.py"), 1, 1);
	expect(await withBundle(app, "initscript.ts", async ({ digest }) => digest)).toBe(first);
	await writeFile(join(app, "initscript.ts"), "export default () => undefined;\n");
	expect(await withBundle(app, "initscript.ts", async ({ digest }) => digest)).toBe(first);
	await writeFile(join(app, "function.py"), "def handler(event):\n    return None\n");
	expect(await withBundle(app, "initscript.ts", async ({ digest }) => digest)).not.toBe(first);
});

test("holds the application, its byte code and what it imports, and nothing else", async () => {
	const names = await withBundle(app, "initscript.ts", async ({ path }) => {
		const { stdout } = await run("tar", ["-tf", path]);
		return stdout.trim().split("\n");
	});
	const top = names.filter((name) => !name.startsWith("lib/"));
	expect(top).toEqual([expect.stringMatching(/^__pycache__\/function\.\w+-\d+\.pyc$/), "function.py"]);
	expect(names).toContain("lib/storage/__init__.py");
});

test("a Python file with a syntax error is refused before anything is sent", async () => {
	await writeFile(join(app, "function.py"), "def handler(:\n");
	await expect(withBundle(app, undefined, async () => undefined)).rejects.toThrow(/cannot be compiled/);
});
