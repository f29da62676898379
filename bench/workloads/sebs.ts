/** Figure 9: the SeBS class functions, on the inputs that set-up made (setup/sebs/inputs.py). */
import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join, relative } from "node:path";
import { SEBS_STORE } from "../../setup/steps/sebs.ts";
import { SERVICES } from "../../src/cli/node/dev-store.ts";
import { inRoot } from "../../src/cli/paths.ts";
import type { TraceEvent } from "../../src/shared/record.ts";
import type { Objects } from "../store.ts";
import { asked, first, IncompleteTimeline } from "../timeline.ts";
import { type FunctionSpec, stageFunction } from "./functions.ts";
import type { Site, Staged, Workload } from "./workload.ts";

/** The mark of the storage library (docs/apps.md). */
const READY = "inputs ready";
const ARCHIVE = "archive.tar.gz";
const STORE = inRoot(SEBS_STORE);
/** Debian's own. */
const SITE = "/usr/lib/python3/dist-packages";

interface Function {
	name: string;
	/** Below the bucket; none: it fetches nothing. */
	inputs?: string;
	/** Changes of input.json, for what comes behind the start and would only take time. */
	event?: object;
	/** Its packages are some hundred megabytes: a start would be nothing but their download. The program of them that it runs. */
	onHost?: string;
}

const FUNCTIONS: readonly Function[] = [
	{ name: "thumbnailer", inputs: "thumbnailer" },
	{ name: "video-processing", inputs: "video", onHost: "/usr/bin/ffmpeg" },
	{
		name: "image-recognition",
		inputs: "recognition",
		onHost: `${SITE}/torch/_C.cpython-311-x86_64-linux-gnu.so`,
	},
	{ name: "dna-visualisation", inputs: "dna" },
	{ name: "compression", inputs: "compression" },
	{ name: "crud", inputs: "crud" },
	{ name: "uploader", inputs: "uploader" },
	{ name: "sleep", event: { sleep: 0.01 } },
	{ name: "dynamic-html" },
	{ name: "graph-pagerank" },
	{ name: "graph-mst" },
	{ name: "graph-bfs" },
];

/** The start of a function: until it was last given what it asked for, or, where it asks for nothing, until it has its event. */
export function startOf(events: readonly TraceEvent[]): { zero: number; end: number } {
	const marks = events.filter(({ kind, text }) => kind === "mark" && text?.startsWith(READY));
	return {
		zero: asked(events).at,
		end: (marks.at(-1) ?? first(events, "invocationTaken")).at,
	};
}

/**
 * What a function still did with its bytes when they were there, milliseconds: at each mark, what passed since the last edge at
 * which something came. It is the least that it can have been.
 */
export function loadOf(events: readonly TraceEvent[]): number {
	const came = new Set(["served", "called", "rpcDone", "invocationTaken", "mark"]);
	let since: number | undefined;
	let load = 0;
	for (const { kind, at, text } of [...events].sort((a, b) => a.at - b.at)) {
		if (kind === "mark" && text?.startsWith(READY) && since !== undefined) load += at - since;
		if (came.has(kind)) since = at;
	}
	return load / 1e6;
}

export const SEBS: readonly Workload[] = FUNCTIONS.map((spec) => ({
	name: `sebs-${spec.name}`,
	figures: ["fig9"],
	rows: [
		spec.inputs === undefined
			? { name: `sebs-${spec.name}`, paper: 1, at_least: 0.98 }
			: { name: `sebs-${spec.name}`, paper: 1.67, at_least: 1.7, or_efficiency: 0.95, inMean: true },
	],
	arms:
		spec.inputs === undefined
			? ["without", "with"]
			: ["without", "with", "setup_only", "fetch_only", "present_without", "present_with"],
	objects: () => objects(spec.inputs),
	stage: (site) => stage(site, spec),
}));

async function objects(folder: string | undefined): Promise<Objects> {
	if (folder === undefined) return {};
	const under = join(STORE, "sebs", folder);
	const entries = await readdir(under, { recursive: true, withFileTypes: true });
	const files = entries
		.filter((entry) => entry.isFile())
		.map(({ parentPath, name }) => join(parentPath, name));
	return Object.fromEntries(files.map((path) => [relative(STORE, path), path]));
}

async function stage(site: Site, spec: Function): Promise<Staged> {
	const event = JSON.parse(await readFile(inRoot(`apps/sebs-${spec.name}/input.json`), "utf8")) as object;
	const staged: FunctionSpec = {
		name: `sebs-${spec.name}`,
		app: `sebs-${spec.name}`,
		event: { ...event, ...spec.event },
		startOf,
		check: (_, events) => {
			if (spec.inputs !== undefined && !events.some(({ text }) => text?.startsWith(READY)))
				throw new IncompleteTimeline(`${spec.name} never had its inputs`);
		},
		...(spec.onHost === undefined ? {} : { onHost: spec.onHost }),
		...(spec.inputs === undefined ? {} : { loadOf }),
	};
	if (spec.name !== "uploader") return stageFunction(site, staged);
	const host = await serveArchive(site);
	return stageFunction(site, {
		...staged,
		event: { ...event, object: { url: `http://${host}/${ARCHIVE}` } },
		egress: [`GET http://${host}/*`, "PUT s3://sebs/*"],
	});
}

/** The web server that the uploader copies from, behind a link of its own. */
async function serveArchive(site: Site): Promise<string> {
	const archive = await readFile(join(STORE, "sebs/uploader/web", ARCHIVE));
	const web = createServer(({ url }, response) => {
		if (url === `/${ARCHIVE}`) response.end(archive);
		else response.writeHead(404).end();
	});
	web.listen(0, SERVICES);
	await once(web, "listening");
	site.defer(async () => {
		web.closeAllConnections();
		web.close();
	});
	return site.links.to(`${SERVICES}:${(web.address() as AddressInfo).port}`);
}
