/** The example application with its real model and photos. */
import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { deployImgrec, FORMATS, type Format, type Isolation, LABELS } from "../../bench/imgrec-functions.ts";
import { countGets, resetStore, storeRequests } from "../../bench/store.ts";
import type { DevStore } from "../../src/cli/node/dev-store.ts";
import { built } from "../../src/cli/paths.ts";
import type { InstanceRecord } from "../../src/shared/record.ts";
import { useNode } from "../harness/suite.ts";

const photos: [string, readonly unknown[]][] = [
	["chelsea.png", LABELS],
	["coffee.png", ["espresso"]],
];

const node = useNode(async (node) => {
	for (const object of ["models/efficientnet-lite0.onnx", ...photos.map(([key]) => `inputs/${key}`)]) {
		const [bucket = ""] = object.split("/");
		await node.put(bucket, basename(object), await readFile(join(built, "assets", object)));
	}
});

function store(): DevStore {
	const { store } = node().node;
	if (!store) throw new Error("the node has no store");
	return store;
}

/** Starts a fresh instance for a photo: the label, how it went, and what the store was asked meanwhile. */
async function recognise(
	key: string,
	query = "",
): Promise<{ label: unknown; record: InstanceRecord; gets: ReturnType<typeof countGets> }> {
	await resetStore(store().admin);
	const answer = await node().client.ask(`/v1/functions/imgrec/invocations?cold=1${query}`, {
		method: "POST",
		body: JSON.stringify({ key }),
	});
	const { label } = (await answer.json()) as { label: unknown };
	const record = await node().ended(answer.headers.get("x-headstart-instance") ?? "");
	return { label, record, gets: countGets(await storeRequests(store().admin)) };
}

const variants: [Isolation, Format][] = [
	...FORMATS.map((format): [Isolation, Format] => ["gvisor", format]),
	["bubblewrap", "c"],
];

describe.each(variants)("in %s, initscript in %s", (isolation, format) => {
	beforeAll(() => deployImgrec({ store: store(), client: node().client }, isolation, format), 60_000);

	test.each(photos)(
		"%s: the right label, each object fetched once and not by the application",
		async (key, labels) => {
			const { label, record, gets } = await recognise(key);
			expect(labels).toContain(label);
			expect(gets).toEqual({ byApp: 0, byBridge: 2, perKey: 1 });
			expect(record).toMatchObject({
				state: "ended",
				script: { end: "exit 0" },
				unclaimed: [],
				missed: [],
				divergences: 0,
			});
			expect(record.events.filter(({ kind }) => kind === "called")).toEqual([]);
			expect(record.events.filter(({ kind }) => kind === "served")).toHaveLength(2);
		},
	);
});

describe.each<Isolation>(["gvisor", "bubblewrap"])("by itself, in %s", (isolation) => {
	beforeAll(() => deployImgrec({ store: store(), client: node().client }, isolation, "c"), 60_000);

	test.each(photos.map(([key]) => key))(
		"%s: the same label, each object fetched once by the application's own client",
		async (key) => {
			const { label, record, gets } = await recognise(key, "&mode=direct");
			expect(label).toBe((await recognise(key)).label);
			expect(gets).toEqual({ byApp: 2, byBridge: 0, perKey: 1 });
			expect(record).toMatchObject({ state: "ended", mode: "direct" });
			expect(record.script).toBeUndefined();
		},
	);
});
