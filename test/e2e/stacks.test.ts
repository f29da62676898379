/** Initscripts that speak Redis, memcached, SQS, gRPC and plain TCP with the real servers, and pass the replies on. */
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse, stringify } from "smol-toml";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { QueueService } from "../../bench/queue.ts";
import { deploy } from "../../src/cli/deploy/deploy.ts";
import { LineServer } from "../harness/line-server.ts";
import type { TestNode } from "../harness/node.ts";
import type { Isolation } from "../harness/probe.ts";
import { etcd, memcached, redis, type Server } from "../harness/servers.ts";
import { useNode } from "../harness/suite.ts";

const isolations: Isolation[] = ["bubblewrap", "gvisor"];
const folder = join(import.meta.dirname, "../functions/stacks");
const PASSWORD = "hunter2";

const running: Pick<Server, "stop">[] = [];
let queue: QueueService;
const lines = new LineServer();
const port = { redis: 0, memcached: 0, etcd: 0 };

beforeAll(async () => {
	const started = await Promise.all([
		redis(PASSWORD),
		memcached(),
		etcd(),
		QueueService.start({ sink: () => undefined }),
		lines.listen(),
	]);
	const [cache, values, kv] = started;
	queue = started[3];
	running.push(cache, values, kv, queue);
	Object.assign(port, { redis: cache.port, memcached: values.port, etcd: kv.port });
	await queue.create("jobs");
	await queue.send("jobs", "paint it");
}, 60_000);
afterAll(async () => {
	await Promise.all([lines.close(), ...running.map((server) => server.stop())]);
});

const at = (scheme: "redis" | "memcached" | "grpc"): string =>
	`${scheme}://127.0.0.1:${port[scheme === "grpc" ? "etcd" : scheme]}`;

const node = useNode(async (node) => {
	await keep(node, "queue", queue.secret());
	await keep(node, "cache", { kind: "redis", endpoint: at("redis"), password: PASSWORD });
	const allow = [
		at("redis"),
		at("memcached"),
		`CALL ${at("grpc")}/etcdserverpb.KV/*`,
		"RECEIVE sqs://jobs/*",
		"DELETE sqs://jobs/*",
		lines.address,
	];
	const secrets = { redis: "cache", sqs: "queue" };
	for (const isolation of isolations) await put(node, { name: isolation, isolation, allow, secrets });
	await put(node, { name: "alone", isolation: "bubblewrap", allow, secrets: {} });
	await put(node, { name: "denied", isolation: "bubblewrap", allow: ["redis://127.0.0.1:1"], secrets });
});

async function keep({ client }: TestNode, name: string, secret: object): Promise<void> {
	await client.ask(`/v1/secrets/${name}`, { method: "PUT", body: JSON.stringify(secret) });
}

interface Variant {
	name: string;
	isolation: Isolation;
	allow: string[];
	secrets: Record<string, string>;
}

async function put({ client }: TestNode, { name, isolation, allow, secrets }: Variant): Promise<void> {
	const copy = await mkdtemp(join(tmpdir(), "hst-stacks-"));
	try {
		await cp(folder, copy, { recursive: true });
		const path = join(copy, "headstart.toml");
		const manifest = parse(await readFile(path, "utf8"));
		const app = { ...(manifest.app as object), isolation };
		await writeFile(path, stringify({ ...manifest, name, app, egress: { allow }, secrets }));
		await deploy(copy, client);
	} finally {
		await rm(copy, { recursive: true });
	}
}

async function invoke(
	name: string,
	event: object,
): Promise<{ got: Record<string, string>; instance: string }> {
	const answer = await node().client.send(`/v1/functions/${name}/invocations?cold=1`, {
		method: "POST",
		body: JSON.stringify(event),
		signal: AbortSignal.timeout(30_000),
	});
	const got = (await answer.json()) as Record<string, string>;
	return { got, instance: answer.headers.get("x-headstart-instance") ?? "" };
}

describe.each(isolations)("for an application in %s", (name) => {
	test("values of Redis and memcached, on connections of the instance's own", async () => {
		const { got, instance } = await invoke(name, {
			redis: at("redis"),
			memcached: at("memcached"),
			receive: ["redis", "redis-list", "memcached"],
		});
		expect(got).toEqual({
			redis: "weights of redis",
			"redis-list": expect.stringMatching(/^\{"list":\["a","b".*"nothing":2\}$/),
			memcached: "weights of memcached",
		});
		const { events } = await node().ended(instance);
		const contents = events.flatMap((event) => (event.kind === "rpcAccepted" ? [event.content] : []));
		expect(contents).toContain(`GET ${at("redis")}/model`);
		expect(contents).toContain(`MG ${at("memcached")}/model`);
		expect(JSON.stringify(events)).not.toContain(PASSWORD);
	});

	test("a value of etcd by gRPC, and a call that it does not know", async () => {
		const { got } = await invoke(name, { grpc: at("grpc"), receive: ["grpc", "grpc-status"] });
		expect(got).toEqual({ grpc: expect.stringContaining("weights of etcd"), "grpc-status": "12" });
	});

	test("a line of a TCP service", async () => {
		const { got } = await invoke(name, { tcp: `${lines.address}?frame=line`, receive: ["tcp"] });
		expect(got).toEqual({ tcp: "1 hello" });
	});
});

test("a task of a queue is claimed once", async () => {
	const { got } = await invoke("bubblewrap", { queue: "sqs://jobs", receive: ["task", "task-deleted"] });
	expect(got).toEqual({ task: "paint it", "task-deleted": "200" });
	expect((await invoke("bubblewrap", { queue: "sqs://jobs", receive: ["task"] })).got).toEqual({
		task: "none",
	});
});

test("a script logs in by itself, with what its input says", async () => {
	const event = { redis: at("redis"), password: PASSWORD, receive: ["redis"] };
	const { got, instance } = await invoke("alone", event);
	expect(got).toEqual({ redis: "weights of redis" });
	const { events } = await node().ended(instance);
	const rpcs = events.filter(({ kind }) => kind === "rpcAccepted");
	expect(JSON.stringify(rpcs)).toContain(`AUTH ${at("redis")}/`);
	expect(JSON.stringify(rpcs)).not.toContain(PASSWORD);
});

test("what the rules do not name is not reached", async () => {
	const before = lines.connections;
	const { instance } = await invoke("denied", { tcp: `${lines.address}?frame=line`, receive: [] });
	const { events } = await node().ended(instance);
	const done = events.filter(({ kind }) => kind === "rpcDone");
	expect(JSON.stringify(done)).toContain("egressDenied");
	expect(lines.connections).toBe(before);
});
