/** memcached and etcd, unmodified, restored from snapshots by each of the ways, and asked by clients of theirs. */
import { mkdtemp, readdir, readFile, realpath, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TomlTable } from "smol-toml";
import { afterAll, describe, expect, test } from "vitest";
import { merged, staged } from "../../bench/stage.ts";
import {
	askEtcd,
	askMemcached,
	keyOf,
	makeEtcd,
	makeMemcached,
	memcachedKeys,
	SMALL,
	snapshotValue,
} from "../../setup/snapshots.ts";
import { deploy } from "../../src/cli/deploy/deploy.ts";
import { nodeTag } from "../../src/cli/doctor/tag.ts";
import { until } from "../../src/cli/node/wait.ts";
import type { ServiceInstance } from "../../src/shared/service.ts";
import type { Isolation } from "../harness/probe.ts";
import { Line, startService, stopService } from "../harness/service.ts";
import { useNode } from "../harness/suite.ts";

const apps = join(import.meta.dirname, "../../apps");

/** What is the server's own. */
const servers = {
	memcached: {
		place: "/var/cache/memcached/memory",
		size: `${SMALL.memcachedMegabytes}MiB`,
		command: ["/app/bin/memcached-shim", "-m", `${SMALL.memcachedMegabytes}`, "-p", "11211"],
		file: "MEMORY_FILE",
		objects: ["memcached", "memcached.meta"],
		keys: memcachedKeys(SMALL.memcachedMegabytes),
		ask: askMemcached,
	},
	etcd: {
		place: "/var/lib/snapshot/etcd.db",
		size: "1MiB",
		command: undefined,
		file: "SNAPSHOT_FILE",
		objects: ["etcd"],
		keys: SMALL.etcdValues,
		ask: askEtcd,
	},
} as const;
type Server = keyof typeof servers;

/** How the state comes: into the file that the server maps or reads, by the shim's writing, or fetched by the shim. */
const arms = ["mapped", "written", "without"] as const;
type Arm = (typeof arms)[number];
const RECEIVED: Record<Arm, RegExp> = {
	mapped: /^mark: state received: \d+ bytes in its file$/,
	written: /^mark: state received: \d+ bytes, written as they came$/,
	without: /^mark: state received: \d+ bytes by its own client/,
};

let folder: string;
const node = useNode(async (node) => {
	folder = await mkdtemp(join(tmpdir(), "hst-snapshots-"));
	await makeMemcached(folder, SMALL.memcachedMegabytes);
	await makeEtcd(folder, SMALL.etcdValues);
	for (const name of Object.values(servers).flatMap(({ objects }) => objects)) {
		await node.put("snapshots", name, await readFile(join(folder, name)));
	}
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function start(server: Server, isolation: Isolation, arm: Arm) {
	const { place, size, command, file } = servers[server];
	const store = node().node.store;
	if (store === undefined) throw new Error("the node has no store");
	const name = `${server}-${arm}-${isolation}`;
	const own = {
		HEADSTART_S3_ENDPOINT: store.endpoint,
		AWS_ACCESS_KEY_ID: store.accessKey,
		AWS_SECRET_ACCESS_KEY: store.secretKey,
		AWS_REGION: store.region,
	};
	const change = ({ initscript, ...manifest }: TomlTable): TomlTable => {
		const { files: _, ...app } = manifest.app as TomlTable;
		const changed = merged({ ...manifest, app, name }, "app", {
			isolation,
			network: arm === "without",
			env: {
				STATE: `s3://snapshots/${server}`,
				[file]: arm === "mapped" ? place : "/tmp/state",
				...(arm === "without" ? own : {}),
			},
			...(arm === "mapped" ? { files: { [place]: { size } } } : {}),
			...(command === undefined ? {} : { command: [...command] }),
		});
		return arm === "without" ? changed : { ...changed, initscript: initscript as TomlTable };
	};
	await staged(join(apps, server, "service"), change, (folder) => deploy(folder, node().client));
	const input = {
		state: `s3://snapshots/${server}`,
		bytes: (await stat(join(folder, server))).size,
		...(arm === "mapped" ? { place: `file:${place}` } : {}),
	};
	return { name, ...(await startService(node(), name, input)) };
}

/** What memcached stores lies in the file that the bridge has received its state in: it is one memory. */
async function expectSharedMemory({ address, instance }: ServiceInstance): Promise<void> {
	const line = await Line.to(address);
	const said = "stored after the restart, in the file that the reply was received in";
	expect(await line.ask(`set later 0 0 ${said.length}\r\n${said}\r`)).toBe("STORED\r");
	line.end();
	const files = `/dev/shm/headstart-${nodeTag(await realpath(node().node.run))}`;
	const [name = ""] = (await readdir(files)).filter((name) => name.startsWith(`${instance}.`));
	expect((await readFile(join(files, name))).includes(said)).toBe(true);
}

const cases = (["bubblewrap", "gvisor"] as const).flatMap((isolation) =>
	arms.map((arm) => [isolation, arm] as const),
);

describe.each(["memcached", "etcd"] as const)("%s", (server) => {
	test.each(cases)("in %s, %s: has the keys of its snapshot", { timeout: 60_000 }, async (isolation, arm) => {
		await node().resetStore();
		const { name, status, service, error } = await start(server, isolation, arm);
		expect({ status, error: error.message }).toEqual({ status: 201, error: undefined });
		const { keys, ask, objects } = servers[server];
		for (const number of [0, 1, keys - 1]) {
			expect(await ask(service.address ?? "", keyOf(number))).toBe(snapshotValue(number).toString());
		}
		const marks = await until("the server's mark", 20_000, async () => {
			const { events } = await node().record(service.instance ?? "");
			const texts = events.filter(({ kind }) => kind === "mark").map(({ text }) => text ?? "");
			return texts.includes("mark: server ready") ? texts : undefined;
		});
		const expected = [
			"mark: shim started",
			expect.stringMatching(RECEIVED[arm]),
			"mark: file written",
			...(server === "etcd" ? ["mark: restored"] : []),
			"mark: server started",
			"mark: server ready",
		];
		expect(marks).toEqual(expected);
		if (server === "memcached" && arm === "mapped") await expectSharedMemory(service);
		// Each has asked for nothing else.
		const asked = await node().requests();
		expect(Object.keys(asked).sort()).toEqual(objects.map((object) => `GET snapshots/${object}`).sort());
		await stopService(node(), name, service.id);
	});
});
