import { createReadStream } from "node:fs";
import { resolve } from "node:path";
import { Readable } from "node:stream";
import { type BuiltInitscript, buildInitscript } from "../../build/index.ts";
import type { ManifestInput } from "../../shared/manifest.ts";
import type { NodeClient } from "../client.ts";
import { withBundle } from "./bundle.ts";
import { bundledClients } from "./clients.ts";
import { withModules } from "./isolate.ts";
import { readManifest } from "./manifest.ts";
import type { Bundle } from "./tar.ts";

/** What a deployment came to. Sizes are bytes. */
export interface Deployed {
	name: string;
	/** Hex SHA-256 of the bundle. */
	bundle: string;
	bundleBytes: number;
	/** Whether the node had the bundle already. */
	bundleKnown: boolean;
	initscript: DeployedInitscript | undefined;
}

/** What the node says of a function (src/shared/function.ts). */
interface Answer {
	initscript?: { bytes: number; artifact?: string };
}

interface DeployedInitscript {
	/** "artifact" where it was pulled from a registry. */
	language: string;
	bytes: number;
	/** Of a WASM module: with its meter (docs/initscripts.md, "Limits"). */
	meteredBytes?: number;
}

/**
 * Builds an application's folder and gives it to a node. Nothing is sent unless all of it builds. `change` may alter what
 * headstart.toml says.
 */
export async function deploy(
	folder: string,
	client: NodeClient,
	change: (input: ManifestInput) => ManifestInput = (input) => input,
): Promise<Deployed> {
	const { input, manifest } = await readManifest(folder);
	const { main, artifact } = manifest.initscript ?? {};
	const script =
		main === undefined || artifact !== undefined
			? undefined
			: await buildInitscript(resolve(folder, main), {
					memoryBytes: manifest.initscript?.limits.memory ?? 16 << 20,
				});
	const { files, env } = await bundledClients(manifest);
	const use = async (bundle: Bundle): Promise<Deployed> => {
		const bundleKnown = await sendBundle(client, bundle);
		const deployed = await client.json<Answer>(`/v1/functions/${manifest.name}`, {
			method: "PUT",
			headers: { "content-type": "application/json" },
			body: JSON.stringify({
				manifest: withLibrary(change(input), env),
				bundle: `sha256:${bundle.digest}`,
				...(script && { initscript: sent(script) }),
			}),
		});
		return {
			name: manifest.name,
			bundle: bundle.digest,
			bundleBytes: bundle.bytes,
			bundleKnown,
			initscript: script === undefined ? pulled(deployed) : built(script),
		};
	};
	if (manifest.app.isolation === "wasm") return withModules(folder, manifest.app.main, use);
	return withBundle(folder, main, use, files, manifest.app.image !== undefined);
}

/** Sends the bundle unless the node has it. Returns whether it had. */
async function sendBundle(client: NodeClient, bundle: Bundle): Promise<boolean> {
	const path = `/v1/bundles/${bundle.digest}`;
	const known = await client.send(path, { method: "HEAD" });
	if (known.ok) return true;
	await client.ask(path, {
		method: "PUT",
		headers: { "content-type": "application/x-tar", "content-length": String(bundle.bytes) },
		body: Readable.toWeb(createReadStream(bundle.path)) as ReadableStream<Uint8Array>,
		duplex: "half",
	});
	return false;
}

/** The manifest with the environment told where the bundle has its libraries, unless the author said otherwise. */
function withLibrary(input: ManifestInput, env: Record<string, string>): ManifestInput {
	if (input.app.isolation === "wasm") return input;
	return { ...input, app: { ...input.app, env: { PYTHONPATH: "/app/lib", ...env, ...input.app.env } } };
}

function built(script: BuiltInitscript): DeployedInitscript {
	const metered = script.format === "wasm" ? { meteredBytes: script.metered.length } : {};
	return { language: script.language, bytes: script.size, ...metered };
}

function pulled({ initscript }: Answer): DeployedInitscript | undefined {
	return initscript?.artifact === undefined ? undefined : { language: "artifact", bytes: initscript.bytes };
}

/** The initscript as it travels (src/host/deploy.ts). */
function sent(script: BuiltInitscript): unknown {
	return script.format === "wasm"
		? { format: "wasm", bytes: Buffer.from(script.bytes).toString("base64") }
		: { format: "js", bytes: Buffer.from(script.source).toString("base64"), source_map: script.sourceMap };
}
