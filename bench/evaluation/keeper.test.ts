import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { Keeper } from "./keeper.ts";

it("keeps files and folders, whatever is in them", async () => {
	const folder = await mkdtemp(join(tmpdir(), "hsb-keep-"));
	const keeper = new Keeper();
	try {
		await mkdir(join(folder, "in/it"), { recursive: true });
		for (const name of ["one", "in/it/two"]) await writeFile(join(folder, name), name.repeat(3000));
		await writeFile(join(folder, "in/empty"), "");
		await symlink("nowhere", join(folder, "in/gone"));
		await keeper.keep([join(folder, "one"), join(folder, "in"), join(folder, "missing")]);
		const maps = await readFile(`/proc/${keeper.pid}/maps`, "utf8");
		expect(maps).toContain(join(folder, "one"));
		expect(maps).toContain(join(folder, "in/it/two"));
	} finally {
		await keeper.stop();
		await rm(folder, { recursive: true });
	}
	await expect(keeper.keep(["/etc/hostname"])).rejects.toThrow("keep.py ended");
});
