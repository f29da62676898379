/** What the paper says of initscripts in its text: how soon one runs when it has to be downloaded first, and how small it is. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { TomlTable } from "smol-toml";
import { buildInitscript } from "../../src/build/index.ts";
import type { Deployed } from "../../src/cli/deploy/deploy.ts";
import { inRoot } from "../../src/cli/paths.ts";
import type { TraceEvent } from "../../src/shared/record.ts";
import { EVENT, objects } from "../imgrec-functions.ts";
import type { How } from "../invoke.ts";
import { waitForQuiet } from "../quiet.ts";
import { merged, staged } from "../stage.ts";
import { median } from "../stats.ts";
import { asked, first } from "../timeline.ts";
import { deployWithArtifact } from "./artifact.ts";
import type { Sample, Site, Staged, Workload } from "./workload.ts";

const NAME = "initscript";
/** Starts of one sample, which is their median: a start takes milliseconds. */
const EACH = 8;
/** How long each waits at most for what the one before left to be done. */
const QUIET_MS = 1000;
const LIMIT_MS = 3;
const LIMIT_BYTES = 20_000;

/** imgrec's, in C: from the start to the first byte of its first RPC. */
export const INITSCRIPT: Workload = {
	name: NAME,
	figures: ["initscript"],
	rows: [],
	limits: [
		{ name: "initscript start, downloaded, idle", arm: "idle", paper: 2, at_most: LIMIT_MS },
		{ name: "initscript start, downloaded, during boot", arm: "during_boot", paper: 2, at_most: LIMIT_MS },
		{ name: "initscript start, downloaded through the link", arm: "linked" },
		{ name: "initscript start, cached", arm: "cached" },
		{
			name: "the largest initscript",
			arm: "idle",
			value: "largest_bytes",
			paper: 200_000,
			at_most: LIMIT_BYTES,
		},
	],
	arms: ["idle", "during_boot", "linked", "cached"],
	objects: async () => objects(),
	stage,
};

async function stage(site: Site): Promise<Staged> {
	await deployScript(site, NAME, false);
	await deployScript(site, `${NAME}-linked`, true);
	const largest_bytes = await largest();
	const start = async (name: string, how: How): Promise<number> => {
		const { events } = await site.bench.invoker.start(name, EVENT, how);
		return startMs(events);
	};
	const several = (name: string, how: How) => async (): Promise<Sample> => {
		const samples: number[] = [];
		for (let at = 0; at < EACH; at++) {
			await waitForQuiet(QUIET_MS);
			samples.push(await start(name, how));
		}
		return { ms: median(samples) ?? 0, values: { largest_bytes } };
	};
	const dropped = { scriptOnly: true, dropped: true };
	return {
		arms: {
			idle: several(NAME, dropped),
			during_boot: async () => ({ ms: await start(NAME, { dropped: true }) }),
			linked: several(`${NAME}-linked`, dropped),
			cached: several(NAME, { scriptOnly: true }),
		},
	};
}

/** The caller's request, or the bridge's start where something had to be dropped before → the first byte of the first RPC. */
function startMs(events: readonly TraceEvent[]): number {
	return (first(events, "rpcSent").at - asked(events).at) / 1e6;
}

function deployScript(site: Site, name: string, linked: boolean): Promise<Deployed> {
	const change = (manifest: TomlTable): TomlTable =>
		merged(merged({ ...manifest, name }, "app", { isolation: site.isolation }), "initscript", {
			main: "initscript.c",
		});
	return staged(inRoot("apps/imgrec"), change, (folder) => deployWithArtifact(site, folder, name, linked));
}

/** The bytes of the largest initscript in C or AssemblyScript of all applications. */
async function largest(): Promise<number> {
	const apps = await readdir(inRoot("apps"));
	const folders = apps.flatMap((app) => [inRoot("apps", app), inRoot("apps", app, "service")]);
	let most = 0;
	for (const folder of folders) {
		const files = await readdir(folder).catch(() => []); // an application may have no such folder
		for (const file of files.filter((name) => /^initscript\.(c|as\.ts)$/.test(name))) {
			const { size } = await buildInitscript(join(folder, file), { memoryBytes: 16 << 20 });
			most = Math.max(most, size);
		}
	}
	return most;
}
