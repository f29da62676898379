import { expect, inject, test } from "vitest";
import { until } from "../../src/cli/node/wait.ts";
import { deployProbe, type Event, invoke, recovers as recoversProbe } from "../harness/probe.ts";
import { application, kill, killHost, runners } from "../harness/processes.ts";
import { useNode } from "../harness/suite.ts";

/** Sends, among others, what must not be sent twice. */
const WRITER = `import { connect, inputJson, s3Get, sendRpc } from "headstart";
export default async function main(): Promise<void> {
	const { script } = inputJson<{ script: [string, string, string, string][] }>();
	for (const [name, bucket, key, text] of script) {
		if (name === "post") sendRpc(connect("s3://" + bucket), 1n, "POST /" + key + "\\n\\n" + text);
		else if (name === "get") s3Get(connect("s3://" + bucket), key);
		else await new Promise((resolve) => setTimeout(resolve, Number(bucket)));
	}
}
`;

/** Says something else each time. */
const DRIFTER = `import { connect, s3Get, sendMsg } from "headstart";
export default async function main(): Promise<void> {
	sendMsg("now", String(Date.now()));
	s3Get(connect("s3://inputs"), "a2");
	await new Promise((resolve) => setTimeout(resolve, 1_500));
}
`;

function script(text: string): { files: Record<string, string> } {
	return { files: { "initscript.ts": text } };
}

const node = useNode(async (node) => {
	await deployProbe(node, { name: "probe", isolation: "bubblewrap" });
	await deployProbe(node, { name: "guarded", isolation: "gvisor" });
	await deployProbe(node, {
		name: "writer",
		isolation: "bubblewrap",
		egress: ["GET s3://inputs/*", "POST s3://results/*"],
		...script(WRITER),
	});
	await deployProbe(node, { name: "drifter", isolation: "bubblewrap", ...script(DRIFTER) });
	await node.put("inputs", "a", "contents of a");
	await node.put("inputs", "a2", "contents of a2");
});

const event: Event = { script: [["get", "inputs", "a"]], app: [["download", "inputs", "a"]] };
const answered = { status: 200, steps: [{ head: "contents of a" }] };

function recovers(name = "probe"): Promise<unknown> {
	return recoversProbe(node(), name, event);
}

async function runnerPid(): Promise<number> {
	const [pid] = await runners(node().node.run);
	if (pid === undefined) throw new Error("there is no runner");
	return pid;
}

test("a killed runner is replaced", async () => {
	await recovers();
	const before = await runnerPid();
	kill(before);
	expect(await recovers()).toMatchObject(answered);
	expect(await until("a new runner", 5_000, runnerPid)).not.toBe(before);
});

test("a runner that dies under an initscript leaves the application to itself", async () => {
	const running = invoke(node(), "probe", {
		script: [["sleep", 5_000]],
		app: [
			["sleep", 1],
			["download", "inputs", "a"],
		],
	});
	await new Promise((resolve) => setTimeout(resolve, 300));
	kill(await runnerPid());
	expect(await running).toMatchObject({ status: 200, steps: [null, { head: "contents of a" }] });
});

test("an initscript whose runner died is run again by the next one, and fetches nothing twice", async () => {
	await recovers();
	await node().resetStore();
	const running = invoke(node(), "probe", {
		script: [
			["expect", 2],
			["get", "inputs", "a"],
			["sleep", 1_500],
			["say", "late", "said by the second"],
		],
		app: [
			["download", "inputs", "a"],
			["receive", "late"],
		],
	});
	await new Promise((resolve) => setTimeout(resolve, 700));
	kill(await runnerPid());
	const { status, steps, instance } = await running;
	expect({ status, steps }).toMatchObject({
		status: 200,
		steps: [{ head: "contents of a" }, { head: "said by the second" }],
	});
	expect(await node().requests()).toEqual({ "GET inputs/a": 1 });
	const { script, events, scriptLines } = await node().ended(instance);
	expect({ script, scriptLines }).toEqual({ script: { end: "exit 0" }, scriptLines: [] });
	expect(events.map(({ text }) => text)).toContain("initscript restarted");
});

test("a script that had sent what must not be sent twice is not run again", async () => {
	await until("a runner", 10_000, runnerPid);
	await node().resetStore();
	const running = invoke(node(), "writer", {
		script: [
			["post", "results", "once", "written"],
			["sleep", 3_000],
			["get", "inputs", "a"],
		],
		app: [
			["sleep", 5],
			["download", "inputs", "a"],
		],
	});
	await until("the write", 5_000, async () => (await node().requests())["POST results/once"]);
	kill(await runnerPid());
	const { status, steps, instance } = await running;
	expect({ status, steps }).toMatchObject({ status: 200, steps: [null, { head: "contents of a" }] });
	const { script, events } = await node().ended(instance);
	expect(script).toMatchObject({ end: "runnerLost", error: { code: "runnerLost" } });
	expect(events.map(({ text }) => text)).not.toContain("initscript restarted");
	expect(await node().requests()).toEqual({ "POST results/once": 1, "GET inputs/a": 1 });
});

test("a script that does otherwise the second time has failed", async () => {
	await until("a runner", 10_000, runnerPid);
	await node().resetStore();
	const running = invoke(node(), "drifter", {
		app: [
			["sleep", 6],
			["download", "inputs", "a"],
		],
	});
	await until("its first calls", 5_000, async () => (await node().requests())["GET inputs/a2"]);
	kill(await runnerPid());
	const { status, steps, instance } = await running;
	expect({ status, steps }).toMatchObject({ status: 200, steps: [null, { head: "contents of a" }] });
	const { script } = await node().ended(instance);
	expect(script).toMatchObject({
		error: { code: "runnerLost", message: expect.stringContaining("did not repeat itself") },
	});
});

/** Kills the runner this long after the invocation has begun. */
const moments = [0, 10, 30, 100, 400];

test.each(moments)("a runner killed %d ms after the start costs the application nothing", async (ms) => {
	const victim = await until("a runner", 10_000, runnerPid);
	await node().resetStore();
	const running = invoke(node(), "probe", {
		script: [
			["expect", 2],
			["await", "inputs", "a"],
			["sleep", 150],
			["get", "inputs", "a2"],
			["say", "last", "said at the end"],
		],
		app: [
			["sleep", 4],
			["download", "inputs", "a"],
			["download", "inputs", "a2"],
		],
	});
	await new Promise((resolve) => setTimeout(resolve, ms));
	kill(victim);
	const { status, steps, instance } = await running;
	expect({ status, steps }).toMatchObject({
		status: 200,
		steps: [null, { head: "contents of a" }, { head: "contents of a2" }],
	});
	expect((await node().ended(instance)).script).toEqual({ end: "exit 0" });
	expect(await node().requests()).toEqual({ "GET inputs/a": 1, "GET inputs/a2": 1 });
});

test.each(["probe", "guarded"])("a killed application of %s is an appExited", async (name) => {
	const running = invoke(node(), name, { app: [["sleep", 8]] });
	const victim = await until("the application", 10_000, () => application(node().node.bridge.pid ?? 0));
	await new Promise((resolve) => setTimeout(resolve, 500));
	kill(victim);
	const { status, body, instance } = await running;
	expect({ status, code: body.code }).toEqual({ status: 502, code: "appExited" });
	await node().ended(instance);
	expect(await node().leaks()).toEqual([]);
});

test("after a killed bridge the next invocation works, and nothing of the old one is left", async () => {
	const running = invoke(node(), "guarded", { app: [["sleep", 5]] });
	const lost = expect(running).resolves.toMatchObject({ status: 503 });
	await new Promise((resolve) => setTimeout(resolve, 1_500));
	kill(node().node.bridge.pid);
	await lost;
	expect(await recovers("guarded")).toMatchObject(answered);
	expect(node().node.bridge.restarts).toBe(1);
	expect(await node().leaks()).toEqual([]);
});

test("after a killed host its functions are there, and what was in flight is interrupted", async () => {
	const running = invoke(node(), "probe", { app: [["sleep", 20]] }).catch(() => "cut");
	const instance = await until("the instance", 10_000, async () => (await node().live())[0]);
	await new Promise((resolve) => setTimeout(resolve, 500));
	await killHost(node().node.host.pid, inject("host"));
	await running;
	expect(await recovers()).toMatchObject(answered);
	expect(await node().ended(instance.id)).toMatchObject({ state: "interrupted" });
	expect(await node().leaks()).toEqual([]);
});

test("what a host was killed in as it began is interrupted, too", async () => {
	const bridge = node().node.bridge.pid ?? 0;
	// What was invoked before has left: the application that is waited for is this test's.
	await until(
		"the end of all applications",
		10_000,
		async () => (await application(bridge)) === undefined || undefined,
	);
	const before = new Set((await node().client.json<Listed>("/v1/instances")).instances.map(({ id }) => id));
	const running = invoke(node(), "probe", { app: [["sleep", 20]] }).catch(() => "cut");
	await until("the application", 10_000, () => application(bridge));
	await killHost(node().node.host.pid, inject("host"));
	await running;
	const { instances } = await until("the host", 30_000, () =>
		node()
			.client.json<Listed>("/v1/instances")
			.catch(() => undefined),
	);
	const states = instances.filter(({ id }) => !before.has(id)).map(({ state }) => state);
	expect(states).toEqual(["interrupted"]);
	expect(await recovers()).toMatchObject(answered);
	expect(await node().leaks()).toEqual([]);
});

interface Listed {
	instances: { id: string; state: string }[];
}
