import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { stringify, type TomlTable } from "smol-toml";
import { afterAll, expect, test } from "vitest";
import { LINK, Links } from "../../bench/evaluation/links.ts";
import { deploy } from "../../src/cli/deploy/deploy.ts";
import { pushInitscript } from "../../src/cli/image/initscript.ts";
import { addBlob, addJson, createLayout, MANIFEST } from "../../src/cli/image/layout.ts";
import { parseTarget, push } from "../../src/cli/image/push.ts";
import type { FunctionSummary } from "../../src/shared/function-summary.ts";
import type { InstanceRecord } from "../../src/shared/record.ts";
import { type Answer, deployProbe, invoke } from "../harness/probe.ts";
import { registry } from "../harness/servers.ts";
import { deployService, startService, stopService } from "../harness/service.ts";
import { useNode } from "../harness/suite.ts";

const probe = join(import.meta.dirname, "../functions/probe");
const server = await registry();
const host = `127.0.0.1:${server.port}`;
const links = new Links();
/** The same registry, further away. */
const far = await links.to(host, "127.0.0.1");
const work = await mkdtemp(join(tmpdir(), "hst-artifact-"));

const node = useNode(
	async (node) => {
		await pushed("wasm", "initscript.c", { memory: "2MiB", rpcs: 7 });
		await pushed("js", "initscript.ts");
		for (const name of ["wasm", "js"])
			await deployProbe(node, { name, isolation: "bubblewrap", artifact: `${host}/init:${name}` });
		await node.put("inputs", "a", "contents of a");
		await node.put("inputs", "b", "contents of b");
	},
	{ images: { registries: [host, far].map((host) => ({ host, plain: true })) } },
);

afterAll(async () => {
	await Promise.all([server.stop(), links.stop()]);
	await rm(work, { recursive: true, force: true });
});

/** Pushes one of the probe's initscripts, or another file, under a tag. */
async function pushed(tag: string, main: string, limits: TomlTable = {}, to = host): Promise<void> {
	const initscript = { main: resolve(probe, main), limits };
	const app = { command: ["true"] };
	await writeFile(join(work, "headstart.toml"), stringify({ name: tag, app, initscript }));
	await pushInitscript(work, parseTarget(`${to}/init:${tag}`), true);
}

/** What the probe does in each language, and what its application gets. */
const events = {
	wasm: { mode: "summarise", app: [["receive", "summary"]] },
	js: { script: [["get", "inputs", "a"]], app: [["download", "inputs", "a"]] },
};
const heads = { wasm: "read: contents of a", js: "contents of a" };

async function start(
	name: "wasm" | "js",
	query: string,
): Promise<{ answer: Answer; record: InstanceRecord }> {
	const answer = await invoke(node(), name, events[name], query);
	return { answer, record: await node().ended(answer.instance) };
}

test.each(["wasm", "js"] as const)(
	"an initscript's download is in the start that has nothing, and in no other (%s)",
	async (name) => {
		const { initscript, manifest } = await node().client.json<FunctionSummary>(`/v1/functions/${name}`);
		expect(initscript).toMatchObject({ format: name, artifact: expect.stringMatching(/\/init@sha256:/) });
		expect(manifest.initscript?.artifact).toBe(initscript?.artifact);
		for (const query of ["cold=1", "cold=image", "cold=image", "cold=1"]) {
			await node().resetStore();
			const { answer, record } = await start(name, query);
			expect(answer.steps).toMatchObject([{ head: heads[name] }]);
			expect(await node().requests()).toEqual({ "GET inputs/a": 1 });
			expect(record.script).toEqual({ end: "exit 0" });
			const pulled = record.events.find(({ kind }) => kind === "initscriptPulled");
			if (query === "cold=1") expect(pulled).toBeUndefined();
			else expect(pulled).toMatchObject({ content: initscript?.artifact, bytes: initscript?.bytes });
		}
	},
);

test("a service's start downloads its initscript, too, when it has nothing", async () => {
	await pushed("service", join(import.meta.dirname, "../functions/service/initscript.ts"));
	const artifact = `${host}/init:service`;
	await deployService(node(), { name: "downloads", isolation: "bubblewrap", artifact });
	for (const query of ["", "?cold=image"]) {
		const { status, service } = await startService(node(), "downloads", {}, query);
		expect(status).toBe(201);
		await stopService(node(), "downloads", service.id);
		const { events } = await node().ended(service.instance ?? "");
		const pulled = events.filter(({ kind }) => kind === "initscriptPulled");
		expect(pulled).toHaveLength(query === "" ? 0 : 1);
	}
});

test("the limits that it was made for hold where the manifest has none of its own", async () => {
	const { manifest } = await node().client.json<FunctionSummary>("/v1/functions/wasm");
	expect(manifest.initscript?.limits).toMatchObject({ memory: 2 << 20, rpcs: 7, connections: 64 });
	await deployProbe(node(), {
		name: "own-limits",
		isolation: "bubblewrap",
		artifact: `${host}/init:wasm`,
		scriptLimits: { rpcs: 9 },
	});
	const own = await node().client.json<FunctionSummary>("/v1/functions/own-limits");
	expect(own.manifest.initscript?.limits).toMatchObject({ memory: 2 << 20, rpcs: 9 });
});

test("a start downloads the metered module where the node makes the same one, or else meters what it downloads", async () => {
	const artifact = `${host}/init:wasm`;
	const less = { memory: "1MiB" };
	await deployProbe(node(), { name: "less", isolation: "bubblewrap", artifact, scriptLimits: less });
	const bytes: number[] = [];
	for (const name of ["wasm", "less"]) {
		const { instance, steps } = await invoke(node(), name, events.wasm, "cold=image");
		expect(steps).toMatchObject([{ head: heads.wasm }]);
		const pulled = (await node().ended(instance)).events.find(({ kind }) => kind === "initscriptPulled");
		bytes.push(pulled?.bytes ?? 0);
	}
	const [metered = 0, plain = 0] = bytes;
	expect(plain).toBeGreaterThan(0);
	expect(metered).toBeGreaterThan(plain);
});

const ARTIFACT = "application/vnd.headstart.initscript";

/** Pushes what is no initscript. */
async function pushOther(
	tag: string,
	layer: { type: string; content: string },
	config: { type: string; content: unknown },
): Promise<string> {
	const layout = await mkdtemp(join(work, "layout-"));
	await createLayout(layout);
	const manifest = await addJson(layout, MANIFEST, {
		schemaVersion: 2,
		mediaType: MANIFEST,
		config: await addJson(layout, config.type, config.content),
		layers: [await addBlob(layout, layer.type, Buffer.from(layer.content))],
	});
	return push(layout, manifest, parseTarget(`${host}/other:${tag}`), true);
}

test("what is no initscript is refused at deploy, with the reason and what to do", async () => {
	const wasm = { type: `${ARTIFACT}.v1.wasm`, content: "no module" };
	const config = { type: `${ARTIFACT}.config.v1+json`, content: { format: "wasm" } };
	const image = { type: "application/vnd.oci.image.config.v1+json", content: {} };
	const refused: [string, RegExp][] = [
		[`${host}/missing:tag`, /missing.*imagePullFailed/s],
		["registry.invalid/init:tag", /not one of the node's registries.*imagePullFailed/s],
		[await pushOther("module", wasm, config), /not a WebAssembly module.*invalidArgument/s],
		[await pushOther("image", wasm, image), /no initscript.*imageInvalid/s],
		[await pushOther("type", { ...wasm, type: "text/plain" }, config), /text\/plain.*imageInvalid/s],
		[
			await pushOther("format", wasm, { ...config, content: { format: "js" } }),
			/configuration.*imageInvalid/s,
		],
		[
			await pushOther("limits", wasm, { ...config, content: { format: "wasm", limits: { rpcs: -1 } } }),
			/initscript\.limits\.rpcs.*invalidArgument/s,
		],
	];
	for (const [artifact, reason] of refused) {
		const deployed = deployProbe(node(), { name: "refused", isolation: "bubblewrap", artifact });
		await expect(deployed, artifact).rejects.toMatchObject({
			message: expect.stringMatching(reason),
			hint: expect.any(String),
		});
	}
});

test("a main beside the artifact stays at home", async () => {
	const folder = await mkdtemp(join(work, "both-"));
	await writeFile(join(folder, "function.py"), "def handler(event):\n    return event\n");
	await writeFile(join(folder, "initscript.ts"), "this is not even TypeScript");
	const initscript = { main: "initscript.ts", artifact: `${host}/init:wasm` };
	const app = {
		isolation: "bubblewrap",
		command: ["python3", "-m", "headstart.runtime", "function:handler"],
	};
	await writeFile(join(folder, "headstart.toml"), stringify({ name: "both", app, initscript }));
	expect(await deploy(folder, node().client)).toMatchObject({ initscript: { language: "artifact" } });
});

test("a registry behind a shaped link takes and gives the same, later", async () => {
	await pushed("far", "initscript.c", { rpcs: 3 }, far);
	await deployProbe(node(), { name: "far", isolation: "bubblewrap", artifact: `${far}/init:far` });
	const { instance, steps } = await invoke(node(), "far", events.wasm, "cold=image");
	expect(steps).toMatchObject([{ head: heads.wasm }]);
	const pulled = (await node().ended(instance)).events.find(({ kind }) => kind === "initscriptPulled");
	expect(pulled?.nanos).toBeGreaterThanOrEqual(LINK.first_byte_ms * 1e6);
});

test("a start whose registry is gone goes on without its initscript, or fails, as its policy says", async () => {
	const artifact = `${host}/init:wasm`;
	await deployProbe(node(), { name: "strict", isolation: "bubblewrap", artifact, onFailure: "fail" });
	await server.stop();
	const event = { mode: "summarise", app: [["download", "inputs", "b"]] };
	const alone = await invoke(node(), "wasm", event, "cold=image");
	expect(alone.steps).toMatchObject([{ head: "contents of b" }]);
	const { script, events } = await node().ended(alone.instance);
	expect(script).toMatchObject({ end: "imagePullFailed", error: { code: "imagePullFailed" } });
	expect(events.map(({ kind }) => kind)).not.toContain("initscriptPulled");
	const failed = await invoke(node(), "strict", { ...event, app: [["sleep", 5]] }, "cold=image");
	expect(failed).toMatchObject({ status: 502, body: { code: "imagePullFailed" } });
	// The one that is here needs no registry.
	expect((await start("wasm", "cold=1")).record.script).toEqual({ end: "exit 0" });
});
