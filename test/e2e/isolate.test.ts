/** Applications of isolation "wasm": modules in a workerd process of their own (docs/wasm.md). */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "smol-toml";
import { afterAll, expect, test } from "vitest";
import { deploy } from "../../src/cli/deploy/deploy.ts";
import { buildImage } from "../../src/cli/image/build.ts";
import { parseTarget, push } from "../../src/cli/image/push.ts";
import { until } from "../../src/cli/node/wait.ts";
import { inRoot } from "../../src/cli/paths.ts";
import { descendants } from "../harness/processes.ts";
import { registry } from "../harness/servers.ts";
import { useNode } from "../harness/suite.ts";

const LARGE = "x".repeat(3_000_000);

const server = await registry();
const host = `127.0.0.1:${server.port}`;
const work = await mkdtemp(join(tmpdir(), "hst-isolate-"));
const SOURCE = inRoot("test/functions/isolate");

const node = useNode(
	async (node) => {
		await deploy(SOURCE, node.client);
		await node.put("inputs", "small", "contents of small");
		await node.put("inputs", "large", LARGE);
	},
	{ images: { registries: [{ host, plain: true }] } },
);

afterAll(async () => {
	await server.stop();
	await rm(work, { recursive: true, force: true });
});

interface Answered {
	status: number;
	instance: string;
	body: {
		steps?: unknown[];
		process?: string;
		setups?: number;
		greeting?: string;
		code?: string;
		message?: string;
	};
}

async function invoke(event: object, query = "cold=1", name = "isolate"): Promise<Answered> {
	const answer = await node().client.send(`/v1/functions/${name}/invocations?${query}`, {
		method: "POST",
		body: JSON.stringify(event),
		signal: AbortSignal.timeout(30_000),
	});
	const body = (await answer.json()) as Answered["body"];
	return { status: answer.status, instance: answer.headers.get("x-headstart-instance") ?? "", body };
}

const small = { bytes: 17, head: "contents of smal" };
const large = { bytes: LARGE.length, head: "x".repeat(16) };
const both = {
	steps: [
		["download", "inputs", "small"],
		["download", "inputs", "large"],
	],
};

// The first, so that no other isolate is warm.
test("a warm isolate serves the next invocation; results are those of the first only", async () => {
	const first = await invoke({ objects: ["small"], messages: { left: "over" }, steps: [] }, "");
	const second = await invoke(
		{
			steps: [
				["receive", "left"],
				["download", "inputs", "small"],
			],
		},
		"",
	);
	expect(second.body).toMatchObject({ process: first.body.process, setups: 1 });
	expect(second.body.steps).toEqual([
		{ error: expect.stringMatching(/^(voided|miss|alreadyClaimed)$/) },
		small,
	]);
});

test("what the initscript fetched is received, each object fetched once", async () => {
	await node().resetStore();
	const { status, body, instance } = await invoke({ ...both, objects: ["small", "large"] });
	expect({ status, body }).toMatchObject({
		status: 200,
		body: { greeting: "hello", setups: 1, steps: [small, large] },
	});
	expect(await node().requests()).toEqual({ "GET inputs/small": 1, "GET inputs/large": 1 });
	const record = await node().ended(instance);
	expect(record).toMatchObject({ unclaimed: [], missed: [], divergences: 0 });
	expect(record.events.filter(({ kind }) => kind === "called")).toEqual([]);
});

test.each(["mode=noInitscript", "cold=1"])("by itself, %s: the bridge does its calls", async (query) => {
	await node().resetStore();
	const { body, instance } = await invoke(both, `cold=1&${query}`);
	expect(body.steps).toEqual([small, large]);
	expect(await node().requests()).toEqual({ "GET inputs/small": 1, "GET inputs/large": 1 });
	const { events } = await node().ended(instance);
	expect(events.filter(({ kind }) => kind === "called")).toHaveLength(2);
});

test.each([
	{ kind: "stall", after: 1_000_000, ms: 700 },
	{ kind: "short", after: 1_000_000 },
	{ kind: "reset", after: 1_000_000 },
] as const)("a download that comes with $kind is whole in the end", async (fault) => {
	await node().resetStore();
	await node().fault({ request: "GET inputs/large", times: 1, ...fault });
	const { body } = await invoke({ objects: ["large"], steps: [["download", "inputs", "large"]] });
	expect(body.steps).toEqual([large]);
});

test("claims keep the rules: another content, a second claim, nothing in time, what was written to", async () => {
	const { body } = await invoke({
		messages: { mine: "my own words", once: "1" },
		objects: ["small", "large"],
		steps: [
			["receive", "mine", "GET s3://inputs/other"],
			["receive", "once"],
			["receive", "once"],
			["receive", "never", "", 50],
			["download", "inputs", "missing"],
			["call", "DELETE s3://inputs/small"],
			["upload", "results", "made", "by the isolate"],
			["fetch", "http://127.0.0.1:1/"],
			["download", "inputs", "small"],
		],
	});
	expect(body.steps).toEqual([
		{ error: "diverged" },
		{ bytes: 1, head: "1" },
		{ error: "alreadyClaimed" },
		{ error: expect.stringMatching(/^(miss|deadline)$/) },
		{ status: 404 },
		{ error: "egressDenied" },
		null,
		"refused",
		small,
	]);
	expect(await node().get("results", "made")).toBe("by the isolate");
});

test("a message goes to the initscript and one comes back", async () => {
	const { body } = await invoke({
		echo: "word",
		steps: [
			["send", "word", "hello there"],
			["receive", "word again"],
		],
	});
	expect(body.steps).toEqual([null, { bytes: 11, head: "hello there" }]);
});

test("an answer is streamed in pieces; a handler that throws says so", async () => {
	const answer = await node().client.send("/v1/functions/isolate/invocations?cold=1", {
		method: "POST",
		body: JSON.stringify({ steps: [["answer", 20]] }),
	});
	expect((await answer.arrayBuffer()).byteLength).toBe(20 << 16);
	const { status, body } = await invoke({ steps: [["throw", "on purpose"]] });
	expect({ status, body }).toMatchObject({ status: 502, body: { code: "functionFailed" } });
	expect(body.message).toMatch(/Error: on purpose.*handler/s);
});

test("the modules may be an image's, which is pulled in the start", async () => {
	await writeFile(join(work, "headstart-image.toml"), stringify({ modules: join(SOURCE, "app.ts") }));
	const layout = join(work, "layout");
	const { manifest } = await buildImage(work, layout);
	await push(layout, manifest, parseTarget(`${host}/isolate:1`), true);
	const app = { isolation: "wasm", image: `${host}/isolate:1`, env: { GREETING: "from an image" } };
	await rm(layout, { recursive: true });
	await writeFile(join(work, "headstart.toml"), stringify({ name: "isolate-image", app }));
	await deploy(work, node().client);
	const { body, instance } = await invoke({ steps: [["say", "hello"]] }, "cold=image", "isolate-image");
	expect(body).toMatchObject({ greeting: "from an image", steps: [null] });
	const { events } = await node().ended(instance);
	expect(events.map(({ kind }) => kind)).toContain("imageUnpacked");
});

test.each([
	[
		"its setup throws",
		'export function setup() { throw new Error("no engine"); }\nexport default () => 1;',
		{ status: 502, body: { code: "functionFailed", message: expect.stringContaining("no engine") } },
	],
	[
		"it has no handler",
		"export const nothing = 1;",
		{
			status: 502,
			body: { code: "functionFailed", message: expect.stringContaining("no default function") },
		},
	],
	[
		"it throws when it is loaded",
		'throw new Error("at once");\nexport default () => 1;',
		{ status: 502, body: { code: "appExited" } },
	],
])("an application of which %s says so", async (_, source, answered) => {
	const folder = await mkdtemp(join(work, "bad-"));
	await writeFile(join(folder, "app.js"), source);
	const app = { isolation: "wasm", main: "app.js" };
	await writeFile(join(folder, "headstart.toml"), stringify({ name: "isolate-bad", app }));
	await deploy(folder, node().client);
	expect(await invoke({}, "cold=1", "isolate-bad")).toMatchObject(answered);
});

test("what does not compile is not deployed", async () => {
	const folder = await mkdtemp(join(work, "worse-"));
	await writeFile(join(folder, "app.ts"), "export default (");
	const app = { isolation: "wasm", main: "app.ts" };
	await writeFile(join(folder, "headstart.toml"), stringify({ name: "isolate-worse", app }));
	await expect(deploy(folder, node().client)).rejects.toThrow("does not compile");
});

test("what our client would not send is refused, and the next request is answered", async () => {
	const head = { "x-headstart-head": "5000" };
	const { body } = await invoke({
		steps: [
			["raw", "/receive", "not JSON"],
			["raw", "/receive", '{"id":"-1"}'],
			["raw", "/receive", '{"id":"1","more":1}'],
			["raw", "/receive", 5_000],
			["raw", "/call", "GET s3://inputs/small\n\n"],
			["raw", "/call", "GET", { "x-headstart-head": "4" }],
			["raw", "/call", 5_000, head],
			["raw", "/call", "GET nowhere\n\n", { "x-headstart-head": "13" }],
			["raw", "/send/one", "text"],
			["raw", "/send/1", (1 << 20) + 1],
			["raw", "/elsewhere", ""],
			["chunked", "/send/2"],
			["download", "inputs", "small"],
		],
	});
	expect(body.steps).toEqual([
		[400, "protocol"],
		[400, "invalidArgument"],
		[400, "protocol"],
		[413, "payloadTooLarge"],
		[400, "protocol"],
		[400, "protocol"],
		[400, "invalidArgument"],
		[400, "invalidArgument"],
		[404, "notFound"],
		[413, "payloadTooLarge"],
		[404, "notFound"],
		[400, "protocol"],
		small,
	]);
	expect(await invoke({ steps: [["headers", 80]] })).toMatchObject({
		status: 502,
		body: { code: "functionFailed" },
	});
});

test("a loop without end is ended by the timeout, memory without end by its limit", async () => {
	const spinning = await invoke({ steps: [["spin"]] });
	expect(spinning).toMatchObject({ status: 504, body: { code: "functionTimeout" } });
	const full = await invoke({ steps: [["buffers"]] });
	expect(full).toMatchObject({ status: 507, body: { code: "instanceMemoryFull" } });
	// The next one is another process.
	expect(await invoke({ steps: [] })).toMatchObject({ status: 200 });
}, 40_000);

test("an isolate that is killed fails its invocation, at once", async () => {
	const before = await isolates();
	const invoked = invoke({ steps: [["spin"]] });
	const pid = await until("the isolate", 10_000, async () =>
		(await isolates()).find((pid) => !before.includes(pid)),
	);
	process.kill(pid, "SIGKILL");
	expect(await invoked).toMatchObject({ status: 502, body: { code: "appExited" } });
});

/** The workerd processes of isolates. */
async function isolates(): Promise<number[]> {
	const below = await descendants(node().node.bridge.pid ?? 0);
	return below
		.filter(({ command }) => command.startsWith("/workerd\0serve\0--binary\0/app/"))
		.map(({ pid }) => pid);
}
