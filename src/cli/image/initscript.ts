/**
 * An initscript as an artifact: a layout with the script as it was built, and the module as it is metered, which a node that makes the same
 * of the script may download in its stead (docs/images.md).
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type BuiltInitscript, buildInitscript } from "../../build/index.ts";
import { readManifest } from "../deploy/manifest.ts";
import { CliError } from "../errors.ts";
import { addBlob, addEmbeddedBlob, addJson, createLayout, type Descriptor, MANIFEST } from "./layout.ts";
import { push, type Target } from "./push.ts";

/** Of artifacts, as the bridge knows them (native-bridge/image/src/artifact.rs). */
const ARTIFACT = "application/vnd.headstart.initscript.v1";
const CONFIG = "application/vnd.headstart.initscript.config.v1+json";

/** Of a layer: nodes take no more. */
const MOST_BYTES = 4 << 20;

export interface PushedInitscript {
	/** "registry/name@sha256:…". */
	reference: string;
	format: "wasm" | "js";
	/** Of the script: what a cold start downloads. */
	bytes: number;
}

/** Builds the initscript of an application's folder and pushes it. `plain`: without TLS. */
export async function pushInitscript(
	folder: string,
	target: Target,
	plain: boolean,
): Promise<PushedInitscript> {
	const { input, manifest } = await readManifest(folder);
	const main = manifest.initscript?.main;
	if (main === undefined)
		throw new CliError(
			`${folder} has no initscript to build`,
			'name its source in headstart.toml: [initscript] main = "initscript.as.ts"',
		);
	const script = await buildInitscript(resolve(folder, main), {
		memoryBytes: manifest.initscript?.limits.memory ?? 16 << 20,
	});
	const layout = await mkdtemp(join(tmpdir(), "headstart-initscript-"));
	try {
		await createLayout(layout);
		const descriptor = await addInitscript(layout, script, input.initscript?.limits ?? {});
		const reference = await push(layout, descriptor, target, plain);
		return { reference, format: script.format, bytes: script.size };
	} finally {
		await rm(layout, { recursive: true, force: true });
	}
}

/** Adds an initscript to a layout: the same one with the same limits always gives the same bytes. */
export async function addInitscript(
	layout: string,
	script: BuiltInitscript,
	limits: Record<string, unknown>,
): Promise<Descriptor> {
	const { format } = script;
	const metered = format === "wasm" && script.metered.length <= MOST_BYTES ? script.metered : undefined;
	const content = Buffer.from(format === "wasm" ? script.bytes : script.source);
	// The layer that starts download comes with the manifest: that is their one request.
	const add = metered === undefined ? addEmbeddedBlob : addBlob;
	const layers = [await add(layout, `${ARTIFACT}.${format}`, content)];
	if (metered !== undefined)
		layers.push(await addEmbeddedBlob(layout, `${ARTIFACT}.metered.wasm`, Buffer.from(metered)));
	const config = await addJson(layout, CONFIG, {
		format,
		limits,
		...(format === "js" && { source_map: script.sourceMap }),
	});
	return addJson(layout, MANIFEST, {
		schemaVersion: 2,
		mediaType: MANIFEST,
		artifactType: ARTIFACT,
		config,
		layers,
	});
}
