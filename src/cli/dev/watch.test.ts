import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { until } from "../node/wait.ts";
import { watchFolder } from "./watch.ts";

test("a change during the first call is not missed, and calls do not overlap", async () => {
	const folder = await mkdtemp(join(tmpdir(), "hs-watch-"));
	await mkdir(join(folder, "lib"));
	const ended = new AbortController();
	const log: string[] = [];
	const watching = watchFolder(
		folder,
		async () => {
			log.push("begin");
			if (log.length === 1) await writeFile(join(folder, "lib/function.py"), "changed");
			await sleep(400);
			log.push("end");
		},
		ended.signal,
	);
	await until("the second call", 5_000, async () => log.length === 4 || undefined);
	expect(log).toEqual(["begin", "end", "begin", "end"]);
	await mkdir(join(folder, "__pycache__"));
	await sleep(300);
	expect(log).toHaveLength(4);
	ended.abort();
	await watching;
	await rm(folder, { recursive: true });
});

test("a folder that is not there is an error", async () => {
	const watching = watchFolder("/nowhere", async () => undefined, new AbortController().signal);
	await expect(watching).rejects.toThrow("ENOENT");
});
