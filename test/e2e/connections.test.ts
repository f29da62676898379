/** Connections and messages that go from one side to the other, over real sockets, and what is left when a side is killed. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { until } from "../../src/cli/node/wait.ts";
import type { InstanceRecord } from "../../src/shared/record.ts";
import { ConnectionServer, makeCertificate } from "../harness/connection-server.ts";
import { deployProbe, type Isolation, invoke } from "../harness/probe.ts";
import { application } from "../harness/processes.ts";
import { useNode } from "../harness/suite.ts";

const folder = join(import.meta.dirname, "../functions/connections");
/** What an application gets: the socket itself, or one end of a socketpair. */
const kinds: Record<Isolation, number> = { bubblewrap: 1, gvisor: 2 };
const isolations: Isolation[] = ["bubblewrap", "gvisor"];
const BYTES = 20_000_000;

const certificates = await mkdtemp(join(tmpdir(), "hst-certificate-"));
const certificate = await makeCertificate(certificates);
// The system's authorities, for the node's bridge.
process.env.SSL_CERT_FILE = certificate.certificate;
const secure = await ConnectionServer.start(certificate);
const server = await ConnectionServer.start();
/** One that is killed. */
const mortal = await ConnectionServer.start();

const node = useNode(async (node) => {
	const read = (name: string): Promise<string> => readFile(join(folder, name), "utf8");
	const files = { "function.py": await read("function.py"), "initscript.ts": await read("initscript.ts") };
	for (const isolation of isolations) {
		const egress = [server.address, mortal.address, secure.address];
		await deployProbe(node, { name: isolation, isolation, files, egress, limits: { memory: "256MiB" } });
	}
});

afterAll(async () => {
	await server.kill();
	await mortal.kill();
	await secure.kill();
	await rm(certificates, { recursive: true });
});

beforeEach(() => {
	server.ends.length = 0;
});

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

function kill(pid: number | undefined): void {
	if (pid === undefined) throw new Error("there is no such process");
	process.kill(pid, "SIGKILL");
}

describe.each(isolations)("in %s", (name) => {
	const { address } = server;
	const transfer = (lines: string[], at = address): unknown[] => ["transfer", "c", at, lines];

	test("what the server streams around the hand-over comes whole and once", async () => {
		const { steps } = await invoke(node(), name, {
			script: [["expect", 1], transfer(["echo one", `stream ${BYTES}`])],
			app: [["stream", "c", address, BYTES]],
		});
		const [host, port] = server.host;
		expect(steps).toEqual([{ kind: kinds[name], bytes: BYTES, right: true, peer: [host, port], said: "x" }]);
		expect(await server.nextEnd()).toBe("end");
	});

	test("an application hands a connection back, and its initscript speaks on it", async () => {
		const { steps } = await invoke(node(), name, {
			script: [["expect", 2], transfer([]), ["adopt", "back", address, "echo script", "said"]],
			app: [
				["pass", "c", address, "back"],
				["receive", "said"],
			],
		});
		expect(steps).toEqual(["app", "script"]);
		expect(server.ends.length).toBeLessThanOrEqual(1);
	});

	test("an initscript waits for what its application sends", async () => {
		const { steps } = await invoke(node(), name, {
			script: [
				["expect", 1],
				["receive", "up", "down"],
			],
			app: [
				["send", "up", 100_000],
				["receive", "down"],
				["send", "up", 1],
			],
		});
		expect(steps).toEqual([null, "100000", { error: "messageDuplicate" }]);
	});

	test("a reset is no end", async () => {
		const { steps } = await invoke(node(), name, {
			script: [["expect", 1], transfer([])],
			app: [["broken", "c", address, "reset"]],
		});
		expect(steps).toEqual([{ error: name === "gvisor" ? "connectionReset" : "ConnectionResetError" }]);
	});

	test("a connection that the server has closed is reported dead", async () => {
		const { steps } = await invoke(node(), name, {
			script: [["expect", 1], transfer(["leave"])],
			app: [
				["sleep", 0.2],
				["broken", "c", address, "echo"],
			],
		});
		expect(steps).toEqual([null, { error: "connectionReset" }]);
	});

	test("TLS is the bridge's, and a cut is no end", async () => {
		const opened = (id: string, line = "echo one"): unknown[] => ["transfer", id, secure.address, [line]];
		const { steps } = await invoke(node(), name, {
			script: [["expect", 3], opened("a", `stream ${BYTES}`), opened("b"), opened("c")],
			app: [
				["stream", "a", secure.address, BYTES],
				["broken", "b", secure.address, "leave"],
				["broken", "c", secure.address, "cut"],
			],
		});
		const peer = secure.host;
		expect(steps).toEqual([
			{ kind: 3, bytes: BYTES, right: true, peer, said: "x" },
			"end",
			{ error: "connectionReset" },
		]);
	});

	test("what an invocation did not take the next one cannot have: it is closed, and shown as waste", async () => {
		const first = await invoke(
			node(),
			name,
			{
				script: [["expect", 2], transfer(["echo one"]), ["transfer", "d", address, []]],
				app: [["pass", "d", address, "back"]],
			},
			"",
		);
		expect(first.steps).toEqual(["app"]);
		expect([await server.nextEnd(), await server.nextEnd()]).toEqual(["end", "end"]);
		const { instance, steps } = await invoke(node(), name, { app: [["broken", "c", address, "echo x"]] }, "");
		expect({ instance, steps }).toEqual({ instance: first.instance, steps: [{ error: "voided" }] });
		const { events, unclaimed } = (await (
			await node().client.send(`/v1/instances/${instance}`)
		).json()) as InstanceRecord;
		const released = events.filter(({ kind }) => kind === "connReleased").map(({ id }) => id);
		expect(released.sort()).toEqual(unclaimed.map(({ id }) => id).sort());
		expect(unclaimed.map(({ content }) => content)).toEqual([address, address]);
		// The tests that follow look for the one application.
		await node().client.ask(`/v1/instances/${instance}`, { method: "DELETE" });
		await node().ended(instance);
	});

	test("a killed application is an appExited, and its connection ends", async () => {
		const running = invoke(node(), name, {
			script: [["expect", 1], transfer([])],
			app: [["broken", "c", address, "drip"]],
		});
		const victim = await until("the application", 10_000, () => application(node().node.bridge.pid ?? 0));
		await pause(1500);
		kill(victim);
		const { status, body } = await running;
		expect({ status, code: body.code }).toEqual({ status: 502, code: "appExited" });
		expect(await server.nextEnd()).toBe("reset");
	});

	test("a killed bridge takes its connections with it", async () => {
		const running = invoke(node(), name, {
			script: [["expect", 1], transfer([])],
			app: [["broken", "c", address, "drip"]],
		}).catch(() => undefined);
		await until("the application", 10_000, () => application(node().node.bridge.pid ?? 0));
		await pause(1500);
		kill(node().node.bridge.pid);
		expect((await running)?.status).toBe(503);
		expect(await server.nextEnd()).toBe("reset");
		await until("the next invocation", 30_000, async () => {
			const answer = await invoke(node(), name, { app: [["sleep", 0]] }).catch(() => undefined);
			return answer?.status === 200 ? answer : undefined;
		});
	});
});

test.each(isolations)("a killed server's connections end, in %s", async (name) => {
	const { address } = name === "gvisor" ? mortal : server;
	const running = invoke(node(), name, {
		script: [
			["expect", 1],
			["transfer", "c", address, []],
		],
		app: [["broken", "c", address, "drip"]],
	});
	await until("the application", 10_000, () => application(node().node.bridge.pid ?? 0));
	await pause(1500);
	await (name === "gvisor" ? mortal : server).kill();
	const { status, steps } = await running;
	expect(status).toBe(200);
	// The kernel ends what a killed process leaves; with bytes unread it resets.
	expect(["end", { error: "connectionReset" }, { error: "ConnectionResetError" }]).toContainEqual(steps[0]);
});
