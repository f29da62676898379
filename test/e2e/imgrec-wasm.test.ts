/** The image recognition in an isolate, with its real engine, model and photos. */
import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { countGets, resetStore, storeRequests } from "../../bench/store.ts";
import { deploy } from "../../src/cli/deploy/deploy.ts";
import { built, inRoot } from "../../src/cli/paths.ts";
import type { InstanceRecord } from "../../src/shared/record.ts";
import { useNode } from "../harness/suite.ts";

/** The labels are apps/imgrec's. */
const photos: [key: string, label: string][] = [
	["chelsea.png", "Egyptian cat"],
	["coffee.png", "espresso"],
];

const node = useNode(async (node) => {
	for (const object of ["models/efficientnet-lite0.onnx", ...photos.map(([key]) => `inputs/${key}`)]) {
		const [bucket = ""] = object.split("/");
		await node.put(bucket, basename(object), await readFile(join(built, "assets", object)));
	}
});

beforeAll(() => deploy(inRoot("apps/imgrec-wasm"), node().client), 60_000);

async function recognise(
	key: string,
	query: string,
): Promise<{ label: unknown; record: InstanceRecord; gets: ReturnType<typeof countGets> }> {
	const admin = node().node.store?.admin ?? "";
	await resetStore(admin);
	const answer = await node().client.ask(`/v1/functions/imgrec-wasm/invocations?${query}`, {
		method: "POST",
		body: JSON.stringify({ key }),
	});
	const { label } = (await answer.json()) as { label: unknown };
	const record = await node().ended(answer.headers.get("x-headstart-instance") ?? "");
	return { label, record, gets: countGets(await storeRequests(admin)) };
}

const onceByBridge = { byApp: 0, byBridge: 2, perKey: 1 };

test.each(photos)("%s: %s, from what the initscript fetched", async (key, label) => {
	const recognised = await recognise(key, "cold=1");
	expect(recognised).toMatchObject({ label, gets: onceByBridge });
	expect(recognised.record).toMatchObject({ unclaimed: [], missed: [], divergences: 0 });
	expect(recognised.record.events.filter(({ kind }) => kind === "called")).toEqual([]);
});

test.each(photos)("%s: %s, from what the bridge fetched for it", async (key, label) => {
	const recognised = await recognise(key, "cold=1&mode=noInitscript");
	expect(recognised).toMatchObject({ label, gets: onceByBridge });
	expect(recognised.record.events.filter(({ kind }) => kind === "called")).toHaveLength(2);
});
