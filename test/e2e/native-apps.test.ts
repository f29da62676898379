/** The example servers in Rust, with and without their initscripts, asked by clients of their protocols. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { TomlTable } from "smol-toml";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { merged, staged } from "../../bench/stage.ts";
import { deploy } from "../../src/cli/deploy/deploy.ts";
import { until } from "../../src/cli/node/wait.ts";
import type { Isolation } from "../harness/probe.ts";
import { Coordinator, makeShards, Peer, removeShards } from "../harness/servers-of-shards.ts";
import { Line, startService, stopService, stopServices } from "../harness/service.ts";
import { useNode } from "../harness/suite.ts";

const isolations: Isolation[] = ["bubblewrap", "gvisor"];
const apps = join(import.meta.dirname, "../../apps");
/** What a server's variants are called, and how each is started. */
const arms = {
	with: {},
	copy: { copy: true },
	without: { alone: true },
	ts: { main: "initscript.ts" },
} as const;
type Arm = keyof typeof arms;
const MAX_SCRIPT = 20_000;

interface Start {
	handover_ms: number;
	shards: number;
	bytes: number;
	from_initscript: number;
	copied: boolean;
}

const folders: string[] = [];
const peers: Peer[] = [];
let coordinator: Coordinator;
/** Where each server is told its shards. */
const assignments = { cached: "", vecdb: "", broken: "" };

beforeAll(async () => {
	const [values, vectors] = await Promise.all([makeShards("cached"), makeShards("vecdb")]);
	folders.push(values, vectors);
	const shard = (number: number): string => join(values, String(number));
	const pair = await Promise.all([Peer.start([shard(0), shard(1)]), Peer.start([shard(2), shard(3)])]);
	const cache = await Peer.start([]);
	peers.push(...pair, cache);
	for (let number = 0; number < 4; number++)
		await cache.set(`vectors/${number}`, join(vectors, String(number)));
	const lies = await readFile(join(vectors, "0"));
	lies.writeBigUInt64LE(1n << 60n, 16);
	await writeFile(join(vectors, "lies"), lies);
	await cache.set("vectors/lies", join(vectors, "lies"));

	coordinator = await Coordinator.start();
	const held = pair.flatMap((peer, index) =>
		[0, 1].map((at) => `${peer.address("http")}/shards/${2 * index + at}`),
	);
	assignments.cached = coordinator.assign("/cached", held);
	const key = (name: string): string => `${cache.address("memcached")}/vectors/${name}`;
	assignments.vecdb = coordinator.assign("/vecdb", ["0", "1", "2", "3"].map(key));
	assignments.broken = coordinator.assign("/broken", ["0", "lies"].map(key));
});
afterAll(async () => {
	await Promise.all([coordinator?.stop(), ...peers.map((peer) => peer.stop()), ...folders.map(removeShards)]);
});

const node = useNode(async () => undefined);

/** Deploys a server's variant, and starts it. */
async function start(app: "cached" | "vecdb", isolation: Isolation, arm: Arm, from = assignments[app]) {
	const options: { copy?: boolean; alone?: boolean; main?: string } = arms[arm];
	const name = `${app}-${arm}-${isolation}`;
	const change = ({ initscript, ...manifest }: TomlTable): TomlTable => {
		const command = [`/app/bin/${app}`, "serve", ...(options.copy ? ["--copy"] : [])];
		const env = { [`${app.toUpperCase()}_ASSIGNMENT`]: from };
		const allow = peers.flatMap((peer) => [`GET ${peer.address("http")}/*`, peer.address("memcached")]);
		const changed = merged(
			{ ...manifest, name, egress: { allow: [`GET ${coordinator.address}/*`, ...allow] } },
			"app",
			{ isolation, command, env, network: options.alone === true },
		);
		if (options.alone) return changed;
		const { main = "initscript.c" } = options;
		return { ...changed, initscript: { ...(initscript as TomlTable), main } };
	};
	const { initscript } = await staged(join(apps, app, "service"), change, (folder) =>
		deploy(folder, node().client),
	);
	if (initscript && arm !== "ts") expect(initscript.meteredBytes).toBeLessThan(MAX_SCRIPT);
	return { name, ...(await startService(node(), name, { assignment: from })) };
}

/** What a server that started says of that. */
function expectStart({ handover_ms, ...start }: Start, arm: Arm, bytes: number): void {
	const from_initscript = arm === "without" ? 0 : 4;
	expect(start).toMatchObject({ shards: 4, bytes, from_initscript, copied: arm === "copy" });
	// How long it may take is the benchmark's to judge: the machine may be busy here.
	expect(handover_ms).toBeGreaterThan(0);
}

const cases = isolations.flatMap((isolation) =>
	(Object.keys(arms) as Arm[]).map((arm) => [isolation, arm] as const),
);

describe("cached", () => {
	test.each(cases)("in %s, %s: serves its peers' shards to clients of memcached", async (isolation, arm) => {
		const { name, status, service, error } = await start("cached", isolation, arm);
		expect({ status, error: error.message }).toEqual({ status: 201, error: undefined });
		expectStart(await statsOf<Start>(service.address), arm, 15_000_000);

		const line = await Line.to(service.address);
		for (const number of [0, 1, 7, 5000, 12_000]) {
			expect(await line.ask(`get key-${number}\r`)).toMatch(/^VALUE key-\d+ 0 \d+\r$/);
			expect((await line.next())?.startsWith(`key-${number} key-${number} `)).toBe(true);
			expect(await line.next()).toBe("END\r");
		}
		expect(await line.ask("set key-1 5 0 3\r\nnew\r")).toBe("STORED\r");
		expect(await line.ask("mg key-1 v f\r")).toBe("VA 3 f5\r");
		expect(await line.next()).toBe("new\r");
		expect(await line.ask("delete key-7\r")).toBe("DELETED\r");
		expect(await line.ask("get key-7 nothing\r")).toBe("END\r");
		line.end();

		await until("its mark", 5_000, async () => {
			const { events } = await node().record(service.id);
			return JSON.stringify(events).includes("handover") || undefined;
		});
		const stopped = await stopService(node(), name, service.id);
		expect(stopped).toMatchObject({ state: "stopped", restarts: 0 });
	});
});

describe("vecdb", () => {
	test.each(cases)("in %s, %s: searches the vectors of a cache", async (isolation, arm) => {
		const { name, status, service, error } = await start("vecdb", isolation, arm);
		expect({ status, error: error.message }).toEqual({ status: 201, error: undefined });
		const stats = await statsOf<{ vectors: number; start: Start }>(service.address);
		expect(stats).toMatchObject({ dimensions: 256 });
		expect(stats.vectors).toBeGreaterThan(8000);
		expectStart(stats.start, arm, 9_200_000);

		// A vector that is there is its own nearest.
		const bytes = await readFile(join(folders[1] ?? "", "2"));
		const rows = Number(bytes.readBigUInt64LE(48));
		const id = Number(bytes.readBigUInt64LE(64 + 8 * 5));
		const vector = Array.from({ length: 256 }, (_, at) => bytes.readFloatLE(rows + 4 * (5 * 256 + at)));
		const answer = await search(service.address, { vector, k: 3 });
		expect(answer.status).toBe(200);
		const { results } = (await answer.json()) as { results: { id: number; score: number }[] };
		expect(results).toHaveLength(3);
		expect(results[0]).toMatchObject({ id });
		expect(results[0]?.score).toBeCloseTo(1, 4);
		expect((await search(service.address, { vector: [1, 2] })).status).toBe(400);
		await stopService(node(), name, service.id);
	});

	test("shards that lie end it, with what is wrong", async () => {
		const { status, error } = await start("vecdb", "bubblewrap", "with", assignments.broken);
		expect({ status, code: error.code }).toEqual({ status: 502, code: "appExited" });
		expect(error.message).toContain("the number of vectors");
		await stopServices(node());
	});

	test("an assignment that is none ends it, with and without its initscript", async () => {
		for (const arm of ["with", "without"] as const) {
			const { status, error } = await start("vecdb", "bubblewrap", arm, `${coordinator.address}/none`);
			expect({ status, code: error.code }).toEqual({ status: 502, code: "appExited" });
			expect(error.message).toContain("404");
		}
	});
});

async function statsOf<T>(address: string | undefined): Promise<T> {
	return (await (await fetch(`http://${address}/stats`)).json()) as T;
}

function search(address: string | undefined, query: object): Promise<Response> {
	return fetch(`http://${address}/search`, { method: "POST", body: JSON.stringify(query) });
}
