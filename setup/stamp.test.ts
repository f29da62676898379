import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { root, Stamp } from "./stamp.ts";

const folder = ".headstart/stamp-test";

afterEach(() => {
	rmSync(join(root, folder), { recursive: true, force: true });
	rmSync(join(root, ".headstart/stamps/stamp-test"), { force: true });
});

test("a step is done until an input changes or an output is gone", async () => {
	mkdirSync(join(root, folder, "in"), { recursive: true });
	writeFileSync(join(root, folder, "in/a"), "1");
	writeFileSync(join(root, folder, "out"), "");
	const stamp = new Stamp("stamp-test", [`${folder}/in`], [`${folder}/out`]);
	expect(await stamp.fresh()).toBe(false);
	await stamp.set();
	expect(await stamp.fresh()).toBe(true);
	writeFileSync(join(root, folder, "in/a"), "2");
	expect(await stamp.fresh()).toBe(false);
	await stamp.set();
	rmSync(join(root, folder, "out"));
	expect(await stamp.fresh()).toBe(false);
});
