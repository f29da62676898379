/** The functions of apps/sebs-* that are light enough, on small inputs: the same answers with their initscripts and without. */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { merged, staged } from "../../bench/stage.ts";
import { deploy } from "../../src/cli/deploy/deploy.ts";
import { pythonLibraryFolder } from "../../src/cli/deploy/python.ts";
import { inRoot } from "../../src/cli/paths.ts";
import type { InstanceRecord } from "../../src/shared/record.ts";
import type { TestNode } from "../harness/node.ts";
import { useNode } from "../harness/suite.ts";

const ARCHIVE = "archive.tar.gz";
/** Function → the objects that it reads and its initscript fetches: what is claimed. */
const FETCHES = {
	thumbnailer: 1,
	"dna-visualisation": 1,
	// The listing and ten files.
	compression: 11,
	uploader: 1,
} as const;

const NAMES = [...Object.keys(FETCHES), "crud", "dynamic-html", "sleep"];
/** Pip fetches what they need, once; ms. */
const PREPARING = 300_000;

interface Result {
	bucket: string;
	key: string;
}

let archive: Buffer;
const web = createServer(({ url }, response) => {
	if (url === `/${ARCHIVE}`) response.end(archive);
	else response.writeHead(404).end();
});
web.listen(0, "127.0.0.1");

/** Makes the inputs and puts them into the node's store. */
async function putInputs(node: TestNode): Promise<void> {
	const folder = await mkdtemp(join(tmpdir(), "hst-sebs-"));
	try {
		const names = [...Object.keys(FETCHES), "crud"];
		await promisify(execFile)(
			"/usr/bin/python3",
			[inRoot("setup/sebs/inputs.py"), "--small", "--out", folder, ...names],
			{ env: { PYTHONPATH: await pythonLibraryFolder(inRoot("apps/sebs-thumbnailer")) } },
		);
		for (const entry of await readdir(join(folder, "sebs"), { recursive: true, withFileTypes: true })) {
			if (!entry.isFile()) continue;
			const path = join(entry.parentPath, entry.name);
			await node.put("sebs", relative(join(folder, "sebs"), path), await readFile(path));
		}
		archive = await readFile(join(folder, "sebs/uploader/web", ARCHIVE));
	} finally {
		await rm(folder, { recursive: true });
	}
}

function site(): string {
	return `http://127.0.0.1:${(web.address() as AddressInfo).port}`;
}

beforeAll(async () => {
	for (const name of NAMES) await pythonLibraryFolder(inRoot(`apps/sebs-${name}`));
}, PREPARING);

const node = useNode(async (node) => {
	if (!web.listening) await once(web, "listening");
	await putInputs(node);
	for (const name of NAMES) {
		await staged(
			inRoot(`apps/sebs-${name}`),
			(manifest) => {
				const boxed = merged(manifest, "app", { isolation: "bubblewrap" });
				if (name !== "uploader") return boxed;
				return merged(boxed, "egress", { allow: [`GET ${site()}/*`, "PUT s3://sebs/*"] });
			},
			(folder) => deploy(folder, node.client),
		);
	}
});

afterAll(() => void web.close());

/** A fresh instance's answer, without what differs each time, and its record. */
async function run(name: string, query = ""): Promise<{ result: unknown; record: InstanceRecord }> {
	const event = JSON.parse(await readFile(inRoot(`apps/sebs-${name}/input.json`), "utf8"));
	if (name === "uploader") event.object.url = `${site()}/${ARCHIVE}`;
	const answer = await node().client.ask(`/v1/functions/sebs-${name}/invocations?cold=1${query}`, {
		method: "POST",
		body: JSON.stringify(event),
	});
	const { result } = (await answer.json()) as { result: unknown };
	const record = await node().ended(answer.headers.get("x-headstart-instance") ?? "");
	return { result, record };
}

/** A key as it was before it was made unique. */
const plain = (key: string): string => key.replace(/\.[0-9a-f]{8}(?=\.|$)/, "");

describe.each(Object.entries(FETCHES))("%s", (name, fetches) => {
	test("stores the same with what its initscript fetched and by itself", async () => {
		const ahead = await run(name);
		const alone = await run(name, "&mode=noInitscript");
		const [first, second] = [ahead.result as Result, alone.result as Result];
		expect({ ...first, key: plain(first.key) }).toEqual({ ...second, key: plain(second.key) });
		expect(first.key).not.toBe(second.key);
		const [stored, again] = await Promise.all(
			[first, second].map(({ bucket, key }) => node().get(bucket, key)),
		);
		expect(stored?.length).toBeGreaterThan(1000);
		// A ZIP has the files' times.
		if (name === "compression")
			expect(Math.abs((stored?.length ?? 0) - (again?.length ?? 0))).toBeLessThan(64 << 10);
		else expect(stored).toBe(again);
		expect(ahead.record).toMatchObject({
			script: { end: "exit 0" },
			unclaimed: [],
			missed: [],
			divergences: 0,
		});
		expect(ahead.record.events.filter(({ kind }) => kind === "served")).toHaveLength(fetches);
		expect(ahead.record.events.filter(({ kind }) => kind === "called")).toHaveLength(1);
		expect(alone.record.script).toBeUndefined();
	});
});

test("crud: what was read before the first write was there, the rest is as it is by then", async () => {
	const ahead = await run("crud");
	const alone = await run("crud", "&mode=noInitscript");
	const thing = { cart_id: "c1", product_id: "p1", name: "thing 1", price: 1, quantity: 2 };
	const lamp = { cart_id: "c1", product_id: "p9", name: "lamp", price: 30, quantity: 2 };
	const names = ["thing 1", "thing 2", "thing 3"];
	expect(ahead.result).toEqual([thing, { products: names, total_cost: 12, avg_price: 2 }, {}, lamp]);
	expect(alone.result).toEqual([
		thing,
		{ products: [...names, "lamp"], total_cost: 72, avg_price: 9 },
		{},
		lamp,
	]);
	expect(ahead.record).toMatchObject({ script: { end: "exit 0" }, unclaimed: [], divergences: 0 });
	// The thing, the listing and the two other things; the first is claimed once only.
	const served = ahead.record.events.filter((event) => event.kind === "served" && event.error === undefined);
	expect(served).toHaveLength(4);
});

test.each([
	["dynamic-html", /<h1>Ada &lt;L&gt;<\/h1>[\s\S]*1000 numbers/],
	["sleep", /^1$/],
])("%s has nothing to fetch, and gives the same", async (name, wanted) => {
	const ahead = await run(name);
	expect(String(ahead.result)).toMatch(wanted);
	expect(await run(name, "&mode=noInitscript")).toMatchObject({ result: ahead.result });
	expect(ahead.record).toMatchObject({ script: { end: "exit 0" }, missed: [] });
});
