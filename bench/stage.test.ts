import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parse } from "smol-toml";
import { expect, it } from "vitest";
import { merged, staged } from "./stage.ts";

it("changes a copy of a manifest", async () => {
	const own = join(import.meta.dirname, "functions/recv");
	let left = "";
	await staged(
		own,
		(manifest) => merged({ ...manifest, name: "other" }, "app", { isolation: "bubblewrap" }),
		async (folder) => {
			left = folder;
			const manifest = parse(await readFile(join(folder, "headstart.toml"), "utf8"));
			expect(manifest).toMatchObject({ name: "other", app: { isolation: "bubblewrap", keep_alive: "0s" } });
			expect(existsSync(join(folder, "function.py"))).toBe(true);
		},
	);
	expect(existsSync(left)).toBe(false);
	expect(await readFile(join(own, "headstart.toml"), "utf8")).toContain('name = "bench-recv"');
});
