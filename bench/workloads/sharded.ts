/** Figures 13 and 14: cached and vecdb, which start from shards that a coordinator assigns to them. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { TomlTable } from "smol-toml";
import { type Deployed, deploy } from "../../src/cli/deploy/deploy.ts";
import { inRoot } from "../../src/cli/paths.ts";
import { makeShards, programOf, removeShards } from "../../test/harness/servers-of-shards.ts";
import { digestOf, type Image, programFiles } from "../evaluation/images.ts";
import type { Isolation } from "../imgrec-functions.ts";
import { merged, staged } from "../stage.ts";
import { fetchMs } from "../timeline.ts";
import { deployWithArtifact } from "./artifact.ts";
import { Services, sampleOf } from "./services.ts";
import { type Servers, serveShards } from "./shard-servers.ts";
import type { Figure, Sample, Site, Staged, Workload } from "./workload.ts";

type App = "cached" | "vecdb";

/** Bytes of all shards, as the servers make them; and what a mark of theirs says. */
const BYTES: Record<App, number> = { cached: 15_000_000, vecdb: 9_200_000 };
/** Each of cached's two peers has one; vecdb's are values of a cache, which takes some megabytes. */
const SHARDS: Record<App, number> = { cached: 2, vecdb: 4 };
const HANDOVER = /^mark: handover ([\d.]+) ms \((.*)\), waited ([\d.]+) ms/;

const ARMS = [
	"without",
	"with",
	"with_copy",
	"setup_only",
	"fetch_only",
	"present_without",
	"present_with",
] as const;

/** How an arm's function is deployed. */
interface Variant {
	name: string;
	script: boolean;
	command: readonly string[];
	/** As a function without a sandbox of its own, for the initscript alone. */
	alone?: boolean;
}

/**
 * Each in the isolation that is asked for, and in bubblewrap: the paper has them in containers that start as fast as those.
 */
export const SHARDED: readonly Workload[] = [
	workload("cached", 1.75, ["fig13", "fig14"]),
	workload("cached", 1.75, ["fig13", "fig14"], "bubblewrap"),
	workload("vecdb", 1.72, ["fig13"]),
	workload("vecdb", 1.72, ["fig13"], "bubblewrap"),
];

function workload(app: App, paper: number, figures: readonly Figure[], isolation?: Isolation): Workload {
	const name = isolation === undefined ? app : `${app}-${isolation}`;
	const value = "handover_ms";
	return {
		name,
		figures,
		rows: [
			{ name, paper, at_least: 1.8 },
			{ name: `${name}-copied`, with: "with_copy" },
		],
		limits:
			app === "cached"
				? [
						{ name: `${name} hand-over, shared`, arm: "with", value, paper: 1, at_most: 0.3 },
						{ name: `${name} hand-over, copied`, arm: "with_copy", value, paper: 13 },
					]
				: [],
		arms: ARMS,
		...(isolation ? { isolation } : {}),
		stage: (site) => stage(site, app),
	};
}

async function stage(site: Site, app: App): Promise<Staged> {
	const folder = await makeShards(app, SHARDS[app]);
	site.defer(() => removeShards(folder));
	const servers = await serveShards(site, app, pathsOf(folder, app));
	const program = programOf(app);
	const image = await site.images.get({
		name: app,
		files: await programFiles(program, `/usr/local/bin/${app}`),
		version: await digestOf(program),
	});
	const serve = [`/usr/local/bin/${app}`, "serve"];
	const variants: Record<string, Variant> = {
		without: { name: `${app}-without`, script: false, command: serve },
		with: { name: app, script: true, command: serve },
		with_copy: { name: `${app}-copy`, script: true, command: [...serve, "--copy"] },
		setup_only: { name: `${app}-setup`, script: false, command: [`/usr/local/bin/${app}`, "--version"] },
		fetch_only: { name: `${app}-fetch`, script: true, command: serve, alone: true },
	};
	let bytes = 0;
	for (const variant of Object.values(variants)) {
		const deployed = await deployVariant(site, app, image, servers, variant);
		bytes = Math.max(bytes, deployed);
	}
	const services = new Services(site.bench.node.url);
	site.defer(async () => services.close());
	const input = { assignment: servers.assignment };
	const arm =
		(name: string, present = false) =>
		async (): Promise<Sample> => {
			const use = (address: string): Promise<void> => check(app, address);
			const start = await services.start(name, input, `ready: ${app}`, { present, use });
			return withHandover(sampleOf(start, `ready: ${app}`, PARTS), start.events);
		};
	return {
		arms: {
			without: arm(`${app}-without`),
			with: arm(app),
			with_copy: arm(`${app}-copy`),
			setup_only: async () => sampleOf(await services.start(`${app}-setup`, input, `${app} `), `${app} `),
			fetch_only: async () => {
				const { events } = await site.bench.invoker.start(`${app}-fetch`, input, {
					scriptOnly: true,
					dropped: true,
				});
				return { ms: fetchMs(events) };
			},
			present_without: arm(`${app}-without`, true),
			present_with: arm(app, true),
		},
		prepare: (arm) => site.images.prepare(arm, image),
		facts: {
			image_bytes: image.bytes,
			state_bytes: BYTES[app],
			initscript_bytes: bytes,
		},
	};
}

const pathsOf = (folder: string, app: App): string[] =>
	Array.from({ length: SHARDS[app] }, (_, number) => join(folder, String(number)));

/** The application's own parts of the waterfall. */
const PARTS = [
	{ name: "boot", from: { kind: "sandboxCreated" }, to: { kind: "appConnected" } },
	{ name: "state received", from: { kind: "appConnected" }, to: { mark: "mark: handover" } },
	{ name: "ready", from: { mark: "mark: handover" }, to: { mark: "ready: " } },
];

function withHandover(sample: Sample, events: readonly { text?: string }[]): Sample {
	const [, handover, , waited] = events.map(({ text }) => HANDOVER.exec(text ?? "")).find(Boolean) ?? [];
	if (handover === undefined) throw new Error("the server said nothing of its hand-over");
	return {
		...sample,
		load: Number(handover),
		values: { handover_ms: Number(handover), waited_ms: Number(waited) },
	};
}

/** Asks the server for something that it must have. */
async function check(app: App, address: string): Promise<void> {
	const answer = await fetch(`http://${address}/stats`, { signal: AbortSignal.timeout(10_000) });
	const stats = (await answer.json()) as { bytes?: number; start?: { bytes?: number } };
	const bytes = app === "cached" ? stats.bytes : stats.start?.bytes;
	if (bytes !== BYTES[app]) throw new Error(`${app} serves ${bytes} bytes instead of ${BYTES[app]}`);
}

/** Gives the initscript's bytes. */
async function deployVariant(
	site: Site,
	app: App,
	image: Image,
	{ assignment, allow }: Servers,
	{ name, script, command, alone }: Variant,
): Promise<number> {
	const change = ({ initscript, service, ...manifest }: TomlTable): TomlTable => {
		const { base: _, ...own } = manifest.app as TomlTable;
		return {
			...merged({ ...manifest, app: own }, "app", {
				isolation: site.isolation,
				image: image.reference,
				command: [...command],
				env: { [`${app.toUpperCase()}_ASSIGNMENT`]: assignment },
				network: true,
				marks: ["mark: ", "ready: ", `${app} `],
			}),
			name,
			egress: { allow: [...allow] },
			...(script && initscript ? { initscript } : {}),
			// One that only says its version is over at once, and that is no reason to start it again.
			...(alone ? {} : { service: { ...(service as TomlTable), restart: "never" } }),
		};
	};
	const source = inRoot("apps", app, "service");
	const deployed = await staged(source, change, (folder) => withoutProgram(folder, site, app, script));
	return deployed.initscript?.bytes ?? 0;
}

/** The program is in the image, so it is not in the bundle. */
async function withoutProgram(folder: string, site: Site, app: App, script: boolean): Promise<Deployed> {
	await rm(join(folder, "bin", app));
	return script ? deployWithArtifact(site, folder, app) : deploy(folder, site.bench.client);
}
