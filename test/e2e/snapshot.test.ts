/** Functions that go on from snapshots: made once, by their first start, and used by all that follow. */
import { readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { LABELS } from "../../bench/imgrec-functions.ts";
import { deploySnapshot, snapshotEvent, snapshotObjects } from "../../bench/imgrec-snapshot-functions.ts";
import { merged, staged } from "../../bench/stage.ts";
import { countGets } from "../../bench/store.ts";
import { deploy } from "../../src/cli/deploy/deploy.ts";
import { CliError } from "../../src/cli/errors.ts";
import type { DevStore } from "../../src/cli/node/dev-store.ts";
import { until } from "../../src/cli/node/wait.ts";
import { inRoot } from "../../src/cli/paths.ts";
import type { InstanceRecord } from "../../src/shared/record.ts";
import { useNode } from "../harness/suite.ts";

const MADE = /^snapshot of \S+ made in \d+ ms/;

/** What no two instances may have in common, and how much there is to be written. */
const DRAWS = `import random, ssl, uuid, os
ballast = os.urandom(150_000_000)
def handler(event):
    return {"draws": [random.random(), ssl.RAND_bytes(8).hex(), str(uuid.uuid4()), os.environ["HEADSTART_INSTANCE"]]}
`;
const OPEN = `from headstart import Instance
import threading, time
def keep():
    Instance().connect()
    time.sleep(60)
threading.Thread(target=keep, daemon=True).start()
time.sleep(0.2)
def handler(event): pass
`;

const node = useNode(async (node) => {
	for (const [object, path] of Object.entries(await snapshotObjects())) {
		const [bucket = "", key = ""] = object.split("/");
		if (typeof path === "string") await node.put(bucket, key, await readFile(path));
	}
	await deploySnapshot(node.client, node.node.store?.endpoint ?? "");
});

function store(): DevStore {
	const { store } = node().node;
	if (!store) throw new Error("the node has no store");
	return store;
}

/** Deploys a module as a function with a snapshot and without an initscript. */
function deployModule(name: string, source: string): Promise<unknown> {
	return staged(
		inRoot("apps/imgrec-snapshot"),
		({ initscript: _, ...manifest }) => merged({ ...manifest, name }, "app", { env: {} }),
		async (folder) => {
			await rm(join(folder, "requirements.txt"));
			await writeFile(join(folder, "function.py"), source);
			return deploy(folder, node().client);
		},
	);
}

/** Starts a fresh instance: its answer and how it went. */
async function start<T>(
	name: string,
	event: unknown,
	query = "",
): Promise<{ answer: T; record: InstanceRecord }> {
	const answer = await node().client.ask(`/v1/functions/${name}/invocations?cold=1${query}`, {
		method: "POST",
		body: JSON.stringify(event),
	});
	const body = (await answer.json()) as T;
	return { answer: body, record: await node().ended(answer.headers.get("x-headstart-instance") ?? "") };
}

/** The class of the photo of a cat, which is stored as `result`. */
function recognise(
	result: string,
	query = "",
): Promise<{ answer: { label: unknown }; record: InstanceRecord }> {
	return start("imgrec-snapshot", snapshotEvent(store().endpoint, store(), result), query);
}

function made(record: InstanceRecord): boolean {
	return record.events.some(({ kind, text }) => kind === "noted" && MADE.test(text ?? ""));
}

/** The snapshots on the node's disk; what is being made or removed begins with a dot. */
async function snapshots(): Promise<string[]> {
	return (await folders()).filter((name) => !name.startsWith("."));
}

function folders(): Promise<string[]> {
	return readdir(join(node().node.state, "snapshots"));
}

/** What is made or removed now. */
async function halves(): Promise<string[]> {
	return (await folders()).filter((name) => name.startsWith("."));
}

function kill(pid: number | undefined): void {
	if (pid === undefined) throw new Error("there is no such process");
	process.kill(pid, "SIGKILL");
}

test("the first start makes the snapshot, whose model the bridge fetched; the others fetch the photo only", async () => {
	const first = await recognise("first.json", "&mode=noInitscript");
	expect(LABELS).toContain(first.answer.label);
	expect(made(first.record)).toBe(true);
	expect(await node().requests()).toMatchObject({ "GET models/efficientnet-lite0.onnx": 1 });

	await node().resetStore();
	const { answer, record } = await recognise("second.json");
	expect(LABELS).toContain(answer.label);
	expect(made(record)).toBe(false);
	expect(countGets(await node().asked())).toEqual({ byApp: 0, byBridge: 1, perKey: 1 });
	expect(record).toMatchObject({ script: { end: "exit 0" }, unclaimed: [], missed: [], divergences: 0 });
	// The connection came after the program went on, and carried the result.
	expect(record.events.filter(({ kind }) => kind === "called")).toEqual([]);
	expect(record.events.find(({ kind }) => kind === "connTaken")).toMatchObject({ text: "spliced" });
	expect(JSON.parse(await node().get("results", "second.json"))).toMatchObject({ label: answer.label });
});

test("instances that go on from one snapshot at one time have nothing of each other", async () => {
	const both = await Promise.all([recognise("a.json"), recognise("b.json", "&mode=noInitscript")]);
	for (const { answer, record } of both) {
		expect(LABELS).toContain(answer.label);
		expect(made(record)).toBe(false);
	}
	await deployModule("draws", DRAWS);
	type Draws = { draws: string[] };
	const runs = await Promise.all([1, 2, 3].map(() => start<Draws>("draws", {})));
	const draws = runs.flatMap(({ answer }) => answer.draws);
	expect(new Set(draws).size).toBe(draws.length);
	expect(runs.map(({ answer, record }) => answer.draws[3] === record.id)).toEqual([true, true, true]);
	// All three waited for one making.
	expect(await snapshots()).toHaveLength(2);
});

test("a snapshot that is cut short is made anew; one of a version that went is removed", async () => {
	const [one = ""] = await snapshots();
	for (const name of await snapshots())
		await truncate(join(node().node.state, "snapshots", name, "pages.img"), 1 << 20);
	const { answer, record } = await recognise("anew.json");
	expect(LABELS).toContain(answer.label);
	expect(made(record)).toBe(true);
	expect(one).not.toBe("");

	await deployModule("draws", `${DRAWS}\n# another version`);
	await until(
		"the removal of the old version's snapshot",
		5_000,
		async () => (await snapshots()).length === 1 || undefined,
	);
	await start("draws", {});
	expect(await snapshots()).toHaveLength(2);
	await node().client.ask("/v1/functions/draws", { method: "DELETE" });
	await until(
		"the removal of the snapshot",
		5_000,
		async () => (await snapshots()).length === 1 || undefined,
	);
});

test("what cannot be a snapshot, or do without one, is a refusal with a hint", async () => {
	const refused = async (name: string, query = ""): Promise<CliError> => {
		const error: unknown = await start(name, {}, query).catch((thrown: unknown) => thrown);
		if (error instanceof CliError) return error;
		throw new Error("it was not refused");
	};
	await deployModule("open", OPEN);
	expect(await refused("open")).toMatchObject({
		message: expect.stringMatching(/keeps a connection to the bridge open \(snapshotFailed\)$/),
		hint: expect.stringContaining("Close connections"),
	});
	await deployModule("broken", "raise ValueError('no such weights')");
	expect((await refused("broken")).message).toMatch(/no such weights[\s\S]*\(snapshotFailed\)$/);
	expect((await refused("imgrec-snapshot", "&mode=direct")).message).toMatch(
		/no network[\s\S]*\(unsupported\)$/,
	);
	expect(await snapshots()).toHaveLength(1);
});

test("a bridge that is killed while it makes one, or while one is gone on from, leaves nothing half", async () => {
	const { bridge } = node().node;
	await deployModule("draws", DRAWS);
	const making = start("draws", {}).catch(() => undefined);
	await until("the writing", 20_000, async () => (await halves())[0]);
	kill(bridge.pid);
	await making;
	const recovers = (): Promise<InstanceRecord> =>
		until("a start", 30_000, async () => (await recognise("later.json").catch(() => undefined))?.record);
	// What was whole is kept for the bridge's next life.
	expect(made(await recovers())).toBe(false);
	expect(await halves()).toEqual([]);

	const restored = recognise("cut.json").catch(() => undefined);
	// A restore takes 200 ms at least.
	await new Promise((resolve) => setTimeout(resolve, 100));
	kill(bridge.pid);
	await restored;
	expect(made(await recovers())).toBe(false);
	expect(await halves()).toEqual([]);
});
