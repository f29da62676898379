import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, expect, test } from "vitest";
import { workerd, wrangler } from "../../paths.ts";

const fixture = join(import.meta.dirname, "fixture");

let run: string;
let bridge: Server;
let runner: ChildProcess;
let dev: ChildProcess;
let origin: string;
let connections = 0;

beforeAll(async () => {
	run = await mkdtemp(join(tmpdir(), "hs-plugin-"));
	bridge = createServer((_request, response) => response.end("bridge"));
	bridge.on("connect", (_request, socket) => {
		connections++;
		socket.write("HTTP/1.1 200 OK\r\n\r\n");
		socket.pipe(socket);
	});
	bridge.listen(join(run, "bridge.sock"));
	runner = spawn(workerd, ["serve", join(fixture, "runner.capnp")], { cwd: run, stdio: "inherit" });
	dev = spawn(
		process.execPath,
		[wrangler, "dev", "--port", "0", "--inspector-port", "0", "--persist-to", join(run, "state")],
		{
			cwd: fixture,
			env: { ...process.env, HEADSTART_RUN: run, MINIFLARE_WORKERD_CONFIG_DEBUG: join(run, "config.json") },
			stdio: ["ignore", "pipe", "inherit"],
		},
	);
	if (!dev.stdout) throw new Error("no output");
	for await (const line of createInterface(dev.stdout)) {
		const found = /Ready on (http:\S+)/.exec(line)?.[1];
		if (found) {
			origin = found;
			break;
		}
	}
	dev.stdout.resume();
}, 60_000);

afterAll(async () => {
	for (const child of [dev, runner]) {
		child.kill();
		await once(child, "exit");
	}
	bridge.closeAllConnections();
	bridge.close();
	await rm(run, { recursive: true });
});

async function get(path: string): Promise<string> {
	return (await fetch(origin + path)).text();
}

test("HTTP to the bridge", async () => {
	expect(await get("/http")).toBe("bridge");
});

test("JS RPC to the runner, and its call back", async () => {
	expect(await get("/rpc")).toBe("hello RUNNER");
});

test("a Durable Object keeps its stream to the bridge, and has SQLite", async () => {
	expect(JSON.parse(await get("/"))).toEqual({ count: 1, echo: "ping 1" });
	expect(JSON.parse(await get("/"))).toEqual({ count: 2, echo: "ping 2" });
	expect(connections).toBe(1);
});

test("objects are never evicted", async () => {
	const config = JSON.parse(await readFile(join(run, "config.json"), "utf8"));
	const host = config.services.find(
		(service: { name: string }) => service.name === "core:user:plugin-fixture",
	);
	expect(host.worker.durableObjectNamespaces).toMatchObject([
		{ className: "Counter", preventEviction: true },
	]);
});
