/** Deaths in the middle of what a start receives: its initscript, and a reply into a file. (Images: images.test.ts.) */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { stringify } from "smol-toml";
import { afterAll, expect, test } from "vitest";
import { pushInitscript } from "../../src/cli/image/initscript.ts";
import { parseTarget } from "../../src/cli/image/push.ts";
import { until } from "../../src/cli/node/wait.ts";
import { HeldRegistry } from "../harness/held-registry.ts";
import { deployProbe, type Event, invoke, recovers } from "../harness/probe.ts";
import { killOne } from "../harness/processes.ts";
import { registry } from "../harness/servers.ts";
import { useNode } from "../harness/suite.ts";

const server = await registry();
const held = await HeldRegistry.before(server);
const work = await mkdtemp(join(tmpdir(), "hst-transfer-"));
const isolation = "bubblewrap";

/** Has its download received in a file of the application's. */
const FILER = `import { connect, expect, recvRpcReply, s3Get } from "headstart";
export default async function main(): Promise<void> {
	expect(1);
	const inputs = connect("s3://inputs");
	await recvRpcReply(inputs, s3Get(inputs, "large", { place: "file:/tmp/state" }));
}
`;
const LARGE = 4 << 20;

const node = useNode(
	async (node) => {
		const main = resolve(import.meta.dirname, "../functions/probe/initscript.ts");
		const manifest = { name: "init", app: { command: ["true"] }, initscript: { main } };
		await writeFile(join(work, "headstart.toml"), stringify(manifest));
		await pushInitscript(work, parseTarget(`127.0.0.1:${server.port}/init`), true);
		await deployProbe(node, { name: "pulled", isolation, artifact: `${held.host}/init:latest` });
		const shared = { "/tmp/state": { size: "4MiB" } };
		await deployProbe(node, { name: "filer", isolation, shared, files: { "initscript.ts": FILER } });
		await node.put("inputs", "a", "contents of a");
		await node.put("inputs", "large", Buffer.alloc(LARGE, "large "));
	},
	{ images: { registries: [{ host: held.host, plain: true }] } },
);

afterAll(async () => {
	await Promise.all([server.stop(), held.stop()]);
	await rm(work, { recursive: true, force: true });
});

const APP_EXITED = { status: 502, body: { code: "appExited" } };
const BRIDGE_LOST = { status: 503, body: { code: "bridgeLost" } };

test.each([
	["runner", { status: 200, steps: [null, { head: "contents of a" }] }],
	["application", APP_EXITED],
	["bridge", BRIDGE_LOST],
] as const)("the %s is killed in the middle of an initscript's download", async (victim, outcome) => {
	const script = [["get", "inputs", "a"]];
	const app = [["download", "inputs", "a"]];
	await recovers(node(), "pulled", { script, app });
	const half = held.hold();
	const running = invoke(node(), "pulled", { script, app: [["sleep", 3], ...app] }, "cold=image");
	await half;
	await killOne(node().node, victim);
	held.letGo();
	const answer = await running;
	expect(answer).toMatchObject(outcome);
	if (victim === "runner") expect((await node().ended(answer.instance)).script).toEqual({ end: "exit 0" });
	const right: unknown[] = [];
	await until("a start with its initscript", 30_000, async () => {
		const event = { script, app: [["sleep", 0.5], ...app] };
		const next = await recovers(node(), "pulled", event, "cold=image");
		right.push(next.steps);
		const { script: end, events } = await node().ended(next.instance);
		return (end?.end === "exit 0" && events.some(({ kind }) => kind === "initscriptPulled")) || undefined;
	});
	// Also those that had to go on by themselves.
	for (const steps of right) expect(steps).toMatchObject([null, { head: "contents of a" }]);
	expect(await node().leaks()).toEqual([]);
});

test.each([
	["runner", { status: 200, steps: [{ bytes: LARGE, head: "large large large la" }] }],
	["application", APP_EXITED],
	["bridge", BRIDGE_LOST],
] as const)("the %s is killed in the middle of a reply into a file", async (victim, outcome) => {
	const event: Event = { app: [["download", "inputs", "large"]] };
	await recovers(node(), "filer", event);
	// The instance that is live then is this test's.
	await node().quiet();
	await node().resetStore();
	await node().fault({ request: "GET inputs/large", kind: "stall", after: LARGE / 2, ms: 1_500 });
	const running = invoke(node(), "filer", event);
	await until("half a reply", 10_000, async () => {
		const [live] = await node().live();
		return live && (await node().record(live.id)).events.find(({ kind }) => kind === "rpcFirstByte");
	});
	await killOne(node().node, victim);
	const answer = await running;
	expect(answer).toMatchObject(outcome);
	if (victim === "runner") {
		// What another runner's script repeats is not asked for twice.
		expect(await node().requests()).toEqual({ "GET inputs/large": 1 });
		const { events } = await node().ended(answer.instance);
		const reply = events.find(({ kind }) => kind === "rpcDone");
		expect(reply).toMatchObject({ bytes: LARGE, place: "file:/tmp/state", offset: 0 });
	}
	expect(await recovers(node(), "filer", event)).toMatchObject({ steps: [{ bytes: LARGE }] });
	expect(await node().leaks()).toEqual([]);
});
