/** A transcript's run against the real bridge. */
import { env } from "cloudflare:workers";
import { expect, test, vi } from "vitest";
import { Run, type RunListener } from "../../durable/transcript/run.ts";
import { type DeployedFunction, functionSpec, hexDigest } from "../../shared/function.ts";
import { parseManifest } from "../../shared/manifest.ts";
import { Bridge } from "../bridge.ts";

const { BRIDGE } = env as unknown as { BRIDGE: Fetcher };

/** Gives the bridge a tar without files. */
async function putBundle(): Promise<string> {
	const tar = new Uint8Array(1024);
	const hex = await hexDigest(tar);
	const { ok } = await BRIDGE.fetch(`http://bridge/bundles/${hex}`, { method: "PUT", body: tar });
	if (!ok) throw new Error("the bridge took no bundle");
	return hex;
}

const deployed: DeployedFunction = {
	tenant: "default",
	digest: "cd".repeat(32),
	manifest: parseManifest({ name: "run", app: { isolation: "bubblewrap", command: ["true"] } }),
	bundle: `sha256:${await putBundle()}`,
	deployedAt: 0,
};

function listener(): RunListener {
	return {
		answered: vi.fn(),
		exited: vi.fn(),
		ended: vi.fn(),
		sourceMap: async () => undefined,
		reconnect: async () => Bridge.connect(BRIDGE),
	};
}

const begin = { deployed, mode: "initscriptOnly", receivedAt: 0n } as const;
const say = (text: string) => [{ op: "log", level: "info", text }] as const;
const kinds = (run: Run): string[] =>
	run.record.events.map(({ kind, text }) => (text ? `${kind}: ${text}` : kind));

test("a function that the bridge has forgotten is put again; ops wait for it", async () => {
	using bridge = Bridge.connect(BRIDGE);
	await bridge.dropFunction(deployed.digest);
	const hears = listener();
	const run = await Run.create(bridge, "default", hears);
	run.assign(begin);
	const started = run.start();
	run.ops([...say("early")]);
	await started;
	await expect.poll(() => kinds(run)).toEqual(["received", "started", "noted: initscript info: early"]);
	run.stop("the test is over");
	await expect.poll(() => hears.ended).toHaveBeenCalledOnce();
	expect(run.record).toMatchObject({ state: "ended", function: "run" });
});

test("when the stream breaks, the instance is taken over on a new one, and no event is lost or told twice", async () => {
	const first = Bridge.connect(BRIDGE);
	await first.putFunction(functionSpec(deployed));
	const hears = listener();
	const run = await Run.create(first, "default", hears);
	run.assign(begin);
	await run.start();
	run.ops([...say("before")]);
	await expect.poll(() => kinds(run)).toHaveLength(3);
	first[Symbol.dispose]();
	await scheduler.wait(200);
	run.ops([...say("after")]);
	const told = ["received", "started", "noted: initscript info: before", "noted: initscript info: after"];
	await expect.poll(() => kinds(run)).toEqual(told);
	expect(hears.ended).not.toHaveBeenCalled();
	run.stop("the test is over");
	await expect.poll(() => hears.ended).toHaveBeenCalledOnce();
});

test("when the bridge cannot be reached again, the run fails with its cause", async () => {
	const bridge = Bridge.connect(BRIDGE);
	await bridge.putFunction(functionSpec(deployed));
	const hears = { ...listener(), reconnect: () => Promise.reject(new Error("no bridge")) };
	const run = await Run.create(bridge, "default", hears);
	run.assign(begin);
	await run.start();
	bridge[Symbol.dispose]();
	await expect.poll(() => hears.ended).toHaveBeenCalledOnce();
	expect(run.record).toMatchObject({ state: "failed", error: { code: "bridgeLost" } });
});

test("a spare whose stream breaks is simply over", async () => {
	const bridge = Bridge.connect(BRIDGE);
	const hears = listener();
	await Run.create(bridge, "default", hears);
	bridge[Symbol.dispose]();
	await expect.poll(() => hears.ended).toHaveBeenCalledOnce();
});
