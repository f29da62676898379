/** What goes beyond a limit is told by its code; the instance and the node go on. */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { inRoot } from "../../src/cli/paths.ts";
import type { ErrorValue } from "../../src/shared/error.ts";
import { deployProbe, type Event, invoke } from "../harness/probe.ts";
import { useNode } from "../harness/suite.ts";

const MIB = 1 << 20;
const big = Buffer.alloc(3 * MIB, "big ");
const gotA = { bytes: 13, head: "contents of a" };

const node = useNode(
	async (node) => {
		const isolation = "bubblewrap";
		await deployProbe(node, { name: "probe", isolation });
		await deployProbe(node, { name: "narrow", isolation, scriptLimits: { results: "1MiB" } });
		await deployProbe(node, { name: "brief", isolation, limits: { timeout: "700ms" } });
		await deployProbe(node, { name: "tight", isolation, limits: { event: "1KiB", answer: "100KiB" } });
		await deployProbe(node, { name: "few", isolation, scriptLimits: { rpcs: 2, messages: 3 } });
		await deployProbe(node, { name: "hurried", isolation, scriptLimits: { rpc_timeout: "300ms" } });
		await node.put("inputs", "a", "contents of a");
		await node.put("inputs", "big", big);
		await node.put("inputs", "huge", Buffer.alloc(10 * MIB));
	},
	{ memory: { node_bytes: 8 * MIB, pool: [] } },
);

/** How the script's RPCs and the application's calls failed. */
async function failures(
	instance: string,
): Promise<{ rpc: (string | undefined)[]; call: (string | undefined)[] }> {
	const { events } = await node().ended(instance);
	const of = (wanted: string): (string | undefined)[] =>
		events.filter(({ kind }) => kind === wanted).map(({ error }) => error?.code);
	return { rpc: of("rpcDone"), call: of("called") };
}

describe("memory for results", () => {
	test.each([
		["narrow", "big", "instanceMemoryFull"],
		["probe", "huge", "nodeMemoryFull"],
	])("of %s is full: %s is refused with %s, and what is small still comes", async (name, key, code) => {
		const { status, steps, instance } = await invoke(node(), name, {
			script: [
				["expect", 2],
				["get", "inputs", key],
				["get", "inputs", "a"],
			],
			app: [
				["download", "inputs", key],
				["download", "inputs", "a"],
				["download_stream", "inputs", key],
			],
		});
		expect({ status, steps }).toMatchObject({
			status: 200,
			steps: [{ error: code }, gotA, { error: code }],
		});
		const { rpc, call } = await failures(instance);
		expect(rpc).toHaveLength(2);
		expect(rpc).toEqual(expect.arrayContaining([code, undefined]));
		expect(call).toEqual([code, code]);
	});

	test("is given back: what did not fit beside others fits after them", async () => {
		const event: Event = {
			script: [["get", "inputs", "big"]],
			app: [
				["sleep", 1.5],
				["download", "inputs", "big"],
			],
		};
		// The node has room for two of them.
		const three = await Promise.all([1, 2, 3].map(() => invoke(node(), "probe", event)));
		const ahead = await Promise.all(three.map(async ({ instance }) => (await failures(instance)).rpc));
		expect(ahead.flat().toSorted()).toEqual(["nodeMemoryFull", undefined, undefined]);
		const after = await invoke(node(), "probe", event);
		expect(after.steps).toMatchObject([null, { bytes: big.length }]);
		expect(await failures(after.instance)).toEqual({ rpc: [undefined], call: [] });
	});
});

describe("a store that", () => {
	test.each([
		["short", "bodyTruncated"],
		["reset", "connectionReset"],
	] as const)("breaks off always (%s): %s for the initscript and the application", async (kind, code) => {
		await node().resetStore();
		await node().fault({ request: "GET inputs/big", kind, after: 100_000, times: 100 });
		const { status, steps, instance } = await invoke(node(), "probe", {
			script: [["get", "inputs", "big"]],
			app: [
				["download", "inputs", "big"],
				["download", "inputs", "a"],
				["download_stream", "inputs", "big"],
			],
		});
		await node().resetStore();
		// A stream that has begun cannot begin anew: the first break ends it.
		const broken = { error: expect.stringMatching(/^(bodyTruncated|connectionReset)$/) };
		expect({ status, steps }).toMatchObject({ status: 200, steps: [{ error: code }, gotA, broken] });
		const { rpc, call } = await failures(instance);
		expect(rpc).toEqual([code]);
		expect(call.slice(0, 2)).toEqual([code, undefined]);
	});

	test("does not answer in time: rpcTimeout, and the application asks again", async () => {
		await node().resetStore();
		await node().fault({ request: "GET inputs/a", kind: "slow", ms: 2_000 });
		const { steps, instance } = await invoke(node(), "hurried", {
			script: [["get", "inputs", "a"]],
			app: [
				["sleep", 0.6],
				["download", "inputs", "a"],
			],
		});
		expect(steps).toMatchObject([null, gotA]);
		expect((await failures(instance)).rpc).toEqual(["rpcTimeout"]);
	});
});

test("RPCs beyond their number are refused, and the application does them", async () => {
	const keys = ["1", "2", "3"];
	for (const key of keys) await node().put("inputs", key, `number ${key}`);
	const { steps, instance } = await invoke(node(), "few", {
		script: [["expect", 3], ...keys.map((key) => ["get", "inputs", key])],
		app: keys.map((key) => ["download", "inputs", key]),
	});
	expect(steps).toMatchObject(keys.map((key) => ({ head: `number ${key}` })));
	const { scriptLines } = await node().ended(instance);
	expect(scriptLines[0]).toMatchObject({ level: "error", text: "initscriptRpcs: rpcs: 3 of at most 2" });
});

test.each([
	["messages", { messages: 2 }, "initscriptMessages: messages: 3 of at most 2"],
	["connections", { connections: 1 }, "initscriptConnections: connections: 2 of at most 1"],
	["bytes", { bytes: "1KiB" }, "initscriptBytes: bytes: "],
])("an initscript beyond its %s is told the limit and the use", async (name, scriptLimits, line) => {
	await deployProbe(node(), { name: `few-${name}`, isolation: "bubblewrap", scriptLimits });
	const { status, instance } = await invoke(node(), `few-${name}`, {
		script: [
			["say", "1", "x".repeat(600)],
			["say", "2", "x".repeat(600)],
			["say", "3", "x"],
			["get", "inputs", "a"],
			["get", "results", "a"],
		],
		app: [["sleep", 0.2]],
	});
	expect(status).toBe(200);
	const { scriptLines, script } = await node().ended(instance);
	const said = [...scriptLines.map(({ text }) => text), `${script?.error?.code}: ${script?.error?.message}`];
	expect(said.join("\n")).toContain(line);
});

describe("an event that is too large is a 413", () => {
	const large = Buffer.alloc(2 << 10, " ");

	test("when it says so", async () => {
		const answer = await node().client.send("/v1/functions/tight/invocations", {
			method: "POST",
			body: large,
		});
		expect(answer.status).toBe(413);
		expect(await answer.json()).toMatchObject({
			code: "payloadTooLarge",
			message: expect.stringContaining("app.limits.event"),
			hint: expect.any(String),
		});
	});

	test("when it does not say so", async () => {
		const parts = new ReadableStream({
			// All at once: a client that still writes when the refusal comes may not read it.
			start(controller) {
				controller.enqueue(large);
				controller.close();
			},
		});
		const init = { method: "POST", body: parts, duplex: "half" } as const;
		const answer = await node().client.send("/v1/functions/tight/invocations", init);
		expect(answer.status).toBe(413);
		expect(await answer.json()).toMatchObject({ code: "payloadTooLarge" });
	});

	test("and the next one is served", async () => {
		expect((await invoke(node(), "tight", { app: [["echo", "fits"]] })).steps).toEqual(["fits"]);
	});
});

/** An answer that has begun, and breaks off: never a complete one. */
async function cutAnswer(
	name: string,
	event: Event,
): Promise<{ status: number; received: number; error: ErrorValue | undefined }> {
	const answer = await node().client.send(`/v1/functions/${name}/invocations?cold=1`, {
		method: "POST",
		body: JSON.stringify(event),
		signal: AbortSignal.timeout(20_000),
	});
	const instance = answer.headers.get("x-headstart-instance") ?? "";
	let received = 0;
	const reading = (async () => {
		for await (const part of answer.body ?? []) received += part.length;
	})();
	await expect(reading).rejects.toThrow("terminated");
	const { error } = await node().ended(instance);
	return { status: answer.status, received, error };
}

describe("an answer", () => {
	test("that is too long is cut, and the record says why", async () => {
		const { status, received, error } = await cutAnswer("tight", { app: [["stream", 30, 10_000, 0.01]] });
		expect({ status, code: error?.code }).toEqual({ status: 200, code: "payloadTooLarge" });
		expect(error?.message).toContain("102400 bytes");
		expect(received).toBeLessThanOrEqual(100 << 10);
	});

	test("that takes too long to begin is a 504 functionTimeout, and its instance ends", async () => {
		const began = Date.now();
		const { status, body, instance } = await invoke(node(), "brief", { app: [["sleep", 8]] });
		expect({ status, code: body.code }).toEqual({ status: 504, code: "functionTimeout" });
		expect(body.message).toContain("700 ms");
		expect(Date.now() - began).toBeLessThan(6_000);
		expect(await node().ended(instance)).toMatchObject({
			state: "failed",
			error: { code: "functionTimeout" },
		});
	});

	test("that takes too long to end is cut", async () => {
		const { status, received, error } = await cutAnswer("brief", { app: [["stream", 100, 100, 0.1]] });
		expect({ status, code: error?.code }).toEqual({ status: 200, code: "functionTimeout" });
		expect(received).toBeGreaterThan(0);
	});
});

/** A request with headers that fetch does not let one set. */
function send(headers: Record<string, string>): Promise<{ status: number; body: string }> {
	return new Promise((resolve, reject) => {
		const asked = request(`${node().node.url}/v1/functions`, { headers }, (answer) => {
			let body = "";
			answer.setEncoding("utf8");
			answer.on("data", (text: string) => {
				body += text;
			});
			answer.on("end", () => resolve({ status: answer.statusCode ?? 0, body }));
			answer.on("error", reject);
		});
		asked.on("error", reject);
		asked.end();
	});
}

describe("requests that are not for this node", () => {
	test.each<[string, Record<string, string>]>([
		["another name that resolves to it", { host: "rebound.example" }],
		["another name with a port", { host: "rebound.example:8787" }],
		["a name that begins like its own", { host: "127.0.0.1.rebound.example" }],
		["another machine's address", { host: "10.0.0.1" }],
		["a page of another origin", { origin: "http://example.com" }],
		["a page without an origin", { origin: "null" }],
	])("%s: refused", async (_, headers) => {
		const { status, body } = await send(headers);
		expect({ status, body: JSON.parse(body) }).toMatchObject({
			status: 403,
			body: { code: "forbiddenOrigin" },
		});
	});

	test.each([{}, { host: "localhost:1234" }, { host: "127.0.0.1" }])(
		"loopback's names are served: %o",
		async (headers) => {
			expect((await send({ ...headers })).status).toBe(200);
		},
	);
});

describe("a headstart.toml with an unknown key", () => {
	const wrong: [string, string, RegExp][] = [
		["at the top", "[egres]\nallow = []", /unknown key egres: .*"egress"/],
		["in a table", '[app]\ncomand = ["true"]', /unknown key app\.comand: .*"command"/],
		[
			"in a table of a table",
			'[app.limits]\ntimeuot = "1s"',
			/unknown key app\.limits\.timeuot: .*"timeout"/,
		],
		["like none", "[app]\nxyzzy = 1", /unknown key app\.xyzzy: Known keys here: isolation, /],
	];

	test.each(wrong)("(%s): the command line names the nearest one", async (_, lines, message) => {
		const folder = await mkdtemp(join(tmpdir(), "hst-toml-"));
		try {
			await writeFile(join(folder, "headstart.toml"), `name = "misspelt"\n${lines}\n`);
			const { status, stderr } = await headstart("deploy", folder, "--node", node().node.url);
			expect(status).toBe(1);
			expect(stderr).toMatch(message);
			expect(stderr.trimEnd()).not.toContain("\n");
		} finally {
			await rm(folder, { recursive: true });
		}
	});

	test("is refused by the node, too", async () => {
		const manifest = { name: "misspelt", app: { command: ["true"], limits: { timeuot: "1s" } } };
		const answer = await node().client.send("/v1/functions/misspelt", {
			method: "PUT",
			body: JSON.stringify({ manifest, bundle: `sha256:${"0".repeat(64)}` }),
		});
		expect(answer.status).toBe(400);
		expect(await answer.json()).toEqual({
			code: "invalidArgument",
			message: "unknown key app.limits.timeuot",
			hint: 'Did you mean "timeout"?',
		});
	});
});

function headstart(...args: string[]): Promise<{ status: number; stderr: string }> {
	return new Promise((resolve) => {
		execFile(inRoot("bin/headstart"), args, (error, _, stderr) => {
			resolve({ status: typeof error?.code === "number" ? error.code : 0, stderr });
		});
	});
}
