import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { countGets, putObjects } from "./store.ts";

it("tells the app's GETs from the bridge's", () => {
	const get = (key: string, agent: string): Parameters<typeof countGets>[0][number] => ({
		verb: "GET",
		bucket: "models",
		key,
		agent,
		status: 200,
	});
	expect(countGets([get("a", "headstart-python-direct"), get("b", "headstart/0.1.0"), get("a", "")])).toEqual(
		{
			byApp: 1,
			byBridge: 2,
			perKey: 2,
		},
	);
	expect(countGets([{ ...get("a", ""), verb: "PUT" }])).toEqual({ byApp: 0, byBridge: 0, perKey: 0 });
});

it("fills a folder with copies and random bytes", async () => {
	const folder = await mkdtemp(join(tmpdir(), "hsb-test-"));
	try {
		await putObjects(folder, { "a/copy": import.meta.filename, "a/b/random": 3_000_000 });
		expect(await readFile(join(folder, "a/copy"), "utf8")).toContain("putObjects");
		expect((await stat(join(folder, "a/b/random"))).size).toBe(3_000_000);
	} finally {
		await rm(folder, { recursive: true });
	}
});
