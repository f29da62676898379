/** Figures 11 and 12: etcd and memcached, Debian's own programs, which start from snapshots in the store. */
import { existsSync } from "node:fs";
import { rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { TomlTable } from "smol-toml";
import {
	askEtcd,
	askMemcached,
	FULL,
	keyOf,
	makeEtcd,
	makeMemcached,
	snapshotValue,
} from "../../setup/snapshots.ts";
import { type Deployed, deploy } from "../../src/cli/deploy/deploy.ts";
import { inRoot } from "../../src/cli/paths.ts";
import type { TraceEvent } from "../../src/shared/record.ts";
import { digestOf, type Image, programFiles } from "../evaluation/images.ts";
import { CACHE } from "../evaluation/registry.ts";
import type { Part } from "../evaluation/waterfall.ts";
import { merged, staged } from "../stage.ts";
import type { Objects } from "../store.ts";
import { fetchMs, IncompleteTimeline } from "../timeline.ts";
import { deployWithArtifact } from "./artifact.ts";
import { Services, sampleOf } from "./services.ts";
import type { Comparison, Figure, Sample, Site, Staged, Workload } from "./workload.ts";

/** Where the snapshots are kept once they are made. */
const SNAPSHOTS = join(CACHE, "snapshots");
/** Marks of the shims (apps/restoring). */
const BEGUN = "mark: shim started";
const RECEIVED = "mark: state received";
const READY = "mark: server ready";

interface Server {
	name: "memcached" | "etcd";
	/** Debian's programs that are in the image beside the shim. */
	programs: readonly string[];
	/** In the store's bucket "snapshots". */
	objects: readonly string[];
	/** The file that the server maps or is restored from, and the variable that names it to the shim. */
	place: string;
	variable: string;
	make(folder: string): Promise<unknown>;
	ask(address: string, key: string): Promise<string>;
	figures: readonly Figure[];
	rows: readonly Comparison[];
}

const SERVERS: readonly Server[] = [
	{
		name: "memcached",
		programs: ["/usr/bin/memcached"],
		objects: ["memcached", "memcached.meta"],
		place: "/var/cache/memcached/memory",
		variable: "MEMORY_FILE",
		make: (folder) => makeMemcached(folder, FULL.memcachedMegabytes),
		ask: askMemcached,
		figures: ["fig11", "fig12"],
		rows: [
			{ name: "memcached-written", with: "with_written", paper: 1.56, at_least: 1.5 },
			{ name: "memcached-mapped", with: "with_mapped", at_least: 1.75 },
		],
	},
	{
		name: "etcd",
		programs: ["/usr/bin/etcd", "/usr/bin/etcdctl"],
		objects: ["etcd"],
		place: "/var/lib/snapshot/etcd.db",
		variable: "SNAPSHOT_FILE",
		make: (folder) => makeEtcd(folder, FULL.etcdValues),
		ask: askEtcd,
		figures: ["fig11"],
		rows: [
			{ name: "etcd-written", with: "with_written", paper: 1.18, at_least: 1.3 },
			{ name: "etcd-mapped", with: "with_mapped", at_least: 1.3 },
		],
	},
];

export const RESTORING: readonly Workload[] = SERVERS.map((server) => ({
	name: server.name,
	figures: server.figures,
	rows: server.rows,
	arms: [
		"without",
		"with_written",
		"with_mapped",
		"setup_only",
		"fetch_only",
		"present_without",
		"present_with_mapped",
	],
	objects: () => objects(server),
	stage: (site) => stage(site, server),
}));

async function objects({ name, objects, make }: Server): Promise<Objects> {
	if (!objects.every((object) => existsSync(join(SNAPSHOTS, object)))) {
		process.stderr.write(`making the snapshot of ${name}, once\n`);
		await make(SNAPSHOTS);
	}
	return Object.fromEntries(objects.map((object) => [`snapshots/${object}`, join(SNAPSHOTS, object)]));
}

/** How an arm's function is deployed. */
interface Variant {
	name: string;
	/** Where the state goes: into the file that is mapped, or into one that the shim writes. */
	state: "mapped" | "written";
	script: boolean;
	/** As a function, for the initscript alone. */
	alone?: boolean;
}

async function stage(site: Site, server: Server): Promise<Staged> {
	const { name } = server;
	const shim = inRoot(`apps/${name}/service/bin/${name}-shim`);
	const files = await Promise.all([
		programFiles(shim, `/usr/local/bin/${name}-shim`),
		...server.programs.map((program) => programFiles(program, program)),
	]);
	const image = await site.images.get({
		name,
		files: [...new Map(files.flat().map((file) => [file.to, file])).values(), await emptyFile(server.place)],
		version: (await Promise.all([shim, ...server.programs].map(digestOf))).join(),
	});
	const variants: Variant[] = [
		{ name: `${name}-without`, state: "written", script: false },
		{ name: `${name}-written`, state: "written", script: true },
		{ name: `${name}-mapped`, state: "mapped", script: true },
		{ name: `${name}-fetch`, state: "written", script: true, alone: true },
	];
	let script = 0;
	const state = { state: `s3://snapshots/${name}`, bytes: (await stat(join(SNAPSHOTS, name))).size };
	for (const variant of variants) {
		const { initscript } = await deployVariant(site, server, image, variant, state.bytes);
		script = Math.max(script, initscript?.bytes ?? 0);
	}
	const services = new Services(site.bench.node.url);
	site.defer(async () => services.close());
	const input = (variant: string): object =>
		variant.endsWith("-mapped") ? { ...state, place: `file:${server.place}` } : state;
	const arm =
		(variant: string, present = false) =>
		async (): Promise<Sample> => {
			const use = (address: string): Promise<void> => check(server, address);
			const start = await services.start(variant, input(variant), READY, { present, use });
			return { ...sampleOf(start, READY, partsOf(server)), load: loadOf(start.events) };
		};
	return {
		arms: {
			without: arm(`${name}-without`),
			with_written: arm(`${name}-written`),
			with_mapped: arm(`${name}-mapped`),
			// The same start, up to where the shim would ask for its state.
			setup_only: async () => sampleOf(await services.start(`${name}-without`, state, BEGUN), BEGUN),
			fetch_only: async () => {
				const { events } = await site.bench.invoker.start(`${name}-fetch`, state, {
					scriptOnly: true,
					dropped: true,
				});
				return { ms: fetchMs(events) };
			},
			present_without: arm(`${name}-without`, true),
			present_with_mapped: arm(`${name}-mapped`, true),
		},
		prepare: (arm) => site.images.prepare(arm, image),
		facts: { image_bytes: image.bytes, state_bytes: state.bytes, initscript_bytes: script },
	};
}

/** What a file of the application's is mounted over: an image cannot be written. */
async function emptyFile(to: string): Promise<{ from: string; to: string }> {
	const from = join(CACHE, "empty");
	await writeFile(from, "");
	return { from, to };
}

function partsOf({ name }: Server): Part[] {
	const written = { mark: "mark: file written" };
	const started = { mark: "mark: server started" };
	return [
		{ name: "boot", from: { kind: "sandboxCreated" }, to: { mark: BEGUN } },
		{ name: "state received", from: { mark: BEGUN }, to: { mark: RECEIVED } },
		{ name: "file written", from: { mark: RECEIVED }, to: written },
		...(name === "etcd" ? [{ name: "restored", from: written, to: started }] : []),
		{ name: "ready", from: started, to: { mark: READY } },
	];
}

/** What only the server can do once its state is in a file: map or restore, and begin to serve; milliseconds. */
function loadOf(events: readonly TraceEvent[]): number {
	const at = (begins: string): number => {
		const mark = events.find(({ kind, text }) => kind === "mark" && text?.startsWith(begins));
		if (mark === undefined) throw new IncompleteTimeline(`no "${begins}" on the timeline`);
		return mark.at;
	};
	return (at(READY) - at(RECEIVED)) / 1e6;
}

async function check({ ask, name }: Server, address: string): Promise<void> {
	const value = await ask(address, keyOf(1));
	if (value !== snapshotValue(1).toString()) throw new Error(`${name} does not have its first keys`);
}

function deployVariant(
	site: Site,
	{ name, place, variable }: Server,
	image: Image,
	variant: Variant,
	bytes: number,
): Promise<Deployed> {
	const {
		bench: { client, store },
		isolation,
	} = site;
	const change = ({ initscript, service, ...manifest }: TomlTable): TomlTable => {
		const { files: _, env, command, ...app } = manifest.app as TomlTable;
		const [, ...args] = command as string[];
		return {
			...merged({ ...manifest, app }, "app", {
				isolation,
				image: image.reference,
				command: [`/usr/local/bin/${name}-shim`, ...args],
				network: true,
				env: {
					...(env as TomlTable),
					[variable]: variant.state === "mapped" ? place : "/tmp/state",
					...(variant.script
						? {}
						: {
								HEADSTART_S3_ENDPOINT: store.endpoint,
								AWS_ACCESS_KEY_ID: store.accessKey,
								AWS_SECRET_ACCESS_KEY: store.secretKey,
								AWS_REGION: store.region,
							}),
				},
				// As large as the state: there is nothing to cut off.
				...(variant.state === "mapped" ? { files: { [place]: { size: `${bytes}B` } } } : {}),
			}),
			name: variant.name,
			...(variant.script && initscript !== undefined ? { initscript } : {}),
			...(variant.alone ? {} : { service: { ...(service as TomlTable), restart: "never" } }),
		};
	};
	return staged(inRoot("apps", name, "service"), change, async (folder) => {
		// It is in the image.
		await rm(join(folder, "bin"), { recursive: true });
		return variant.script ? deployWithArtifact(site, folder, name) : deploy(folder, client);
	});
}
