/** Figure 10: imgrec-wasm. Its binary is the image; without the initscript it fetches by the bridge, having no network of its own. */
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { TomlTable } from "smol-toml";
import { isolates } from "../../setup/steps/isolates.ts";
import { buildIsolate } from "../../src/build/isolate.ts";
import { type Deployed, deploy } from "../../src/cli/deploy/deploy.ts";
import { inRoot } from "../../src/cli/paths.ts";
import { digestOf, type Image } from "../evaluation/images.ts";
import { CACHE } from "../evaluation/registry.ts";
import { EVENT, objects } from "../imgrec-functions.ts";
import type { How } from "../invoke.ts";
import { merged, staged } from "../stage.ts";
import { fetchMs } from "../timeline.ts";
import { checkAnswer, loadOf, startOf } from "./imgrec-py.ts";
import type { Sample, Site, Staged, Workload } from "./workload.ts";

const NAME = "imgrec-wasm";
const SETUP = `${NAME}-setup`;
const APP = inRoot("apps", NAME);

export const IMGREC_WASM: Workload = {
	name: NAME,
	figures: ["fig10"],
	rows: [{ name: NAME, paper: 1.81, at_least: 1.8, or_efficiency: 0.95, inMean: true }],
	arms: ["without", "with", "setup_only", "fetch_only", "present_without", "present_with"],
	objects: async () => objects(),
	stage,
};

async function stage(site: Site): Promise<Staged> {
	const { invoker } = site.bench;
	if (!(await isolates.done())) await isolates.run();
	const image = await imageOf(site, "app.ts", NAME);
	const setupImage = await imageOf(site, "setup-only.ts", SETUP);
	const script = await deployAs(site, NAME, image);
	await deployAs(site, SETUP, setupImage);
	const arm =
		(how: How, { name = NAME, present = false } = {}) =>
		async (): Promise<Sample> => {
			const { events, answer } = await invoker.start(name, EVENT, present ? how : { ...how, dropped: true });
			if (name === NAME) checkAnswer(answer);
			const { zero, end } = startOf(events);
			return { ms: (end - zero) / 1e6, load: loadOf(events) };
		};
	return {
		arms: {
			without: arm({ noInitscript: true }),
			with: arm({}),
			setup_only: arm({}, { name: SETUP }),
			fetch_only: async () => {
				const { events } = await invoker.start(NAME, EVENT, { scriptOnly: true, dropped: true });
				return { ms: fetchMs(events) };
			},
			present_without: arm({ noInitscript: true }, { present: true }),
			present_with: arm({}, { present: true }),
		},
		prepare: (arm) => site.images.prepare(arm, image),
		facts: {
			image_bytes: image.bytes,
			bundle_bytes: script.bundleBytes,
			initscript_bytes: script.initscript?.bytes ?? 0,
		},
	};
}

/** An image of nothing but the modules that a main module is built into. */
async function imageOf({ images }: Site, main: string, name: string): Promise<Image> {
	const modules = join(CACHE, "modules", name);
	await rm(modules, { recursive: true, force: true });
	await mkdir(modules, { recursive: true });
	await buildIsolate(join(APP, main), modules);
	// The engine's digest is in its name, and that in the main module.
	const version = await digestOf(join(modules, "app.js"));
	return images.get({ name, files: [{ from: modules, to: "/app" }], version });
}

/** With its initscript or, as `imgrec-wasm-setup`, without one; its modules are the image's. */
function deployAs({ bench, images }: Site, name: string, image: Image): Promise<Deployed> {
	const change = ({ initscript, ...manifest }: TomlTable): TomlTable => {
		const { main: _, ...app } = manifest.app as TomlTable;
		const changed = { ...manifest, name, app: { ...app, image: image.reference } };
		return name === SETUP
			? changed
			: { ...changed, initscript: { ...(initscript as TomlTable), main: "initscript.c" } };
	};
	return staged(APP, change, async (folder) => {
		if (name === SETUP) return deploy(folder, bench.client);
		const artifact = await images.script(folder, name);
		const named = (manifest: TomlTable): TomlTable => merged(manifest, "initscript", { artifact });
		return staged(folder, named, (again) => deploy(again, bench.client));
	});
}
