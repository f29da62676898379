/** Deploying a function: everything that can be wrong is found here, before it replaces what works. */
import * as v from "valibot";
import { Bridge } from "../bridge/bridge.ts";
import { prepareImage } from "../bridge/images.ts";
import { downloadInitscript, type FoundScript, findInitscript } from "../bridge/initscripts.ts";
import { functions } from "../durable/node.ts";
import { MAX_FUNCTIONS } from "../durable/registry.ts";
import { TenantRunner } from "../durable/runners.ts";
import { runnerBack } from "../durable/transcript/script-run.ts";
import { parseLoad } from "../durable/transcript/validate.ts";
import type { ScriptModule } from "../isolates/protocol.ts";
import { boundMemory } from "../isolates/wasm/memory.ts";
import { meter } from "../isolates/wasm/meter/index.ts";
import { MAX_MODULE_BYTES } from "../isolates/wasm/module.ts";
import { ModuleError } from "../isolates/wasm/reader.ts";
import type { Env } from "../shared/env.ts";
import { HeadstartError } from "../shared/error.ts";
import {
	type DeployedFunction,
	type DeployedScript,
	functionDigest,
	functionSpec,
	hexDigest,
} from "../shared/function.ts";
import {
	DEFAULT_SCRIPT_LIMITS,
	type Manifest,
	type ManifestInput,
	parseManifest,
} from "../shared/manifest.ts";
import { nearest } from "../shared/nearest.ts";
import { TenantPace } from "../shared/tenant-pace.ts";
import { headBundle } from "./bundles.ts";
import { registry } from "./functions.ts";

/** More than any that a runner takes. */
const MAX_SCRIPT_BYTES = 8 << 20;
/** UTF-16 units. With its initscript it passes through one RPC, of 32 MiB at most. */
const MAX_SOURCE_MAP = 4 << 20;
const MAX_MANIFEST = 256 << 10;

/** A module of a MiB takes the host's thread for up to 0.2 s. */
const pace = new TenantPace({ perSecond: 256 << 10, burst: 1 << 20 });

const deploymentSchema = v.strictObject({
	/** headstart.toml as JSON. */
	manifest: v.unknown(),
	/** "sha256:<hex>" of the application's files, put to /v1/bundles before. */
	bundle: v.pipe(v.string(), v.regex(/^sha256:[0-9a-f]{64}$/, '"sha256:" and 64 hex digits were expected')),
	initscript: v.optional(
		v.strictObject({
			format: v.picklist(["wasm", "js"]),
			/** Base64. */
			bytes: v.pipe(v.string(), v.base64("base64 was expected")),
			source_map: v.optional(v.pipe(v.string(), v.maxLength(MAX_SOURCE_MAP))),
		}),
	),
});

export interface Deployment {
	manifest: Manifest;
	/** The manifest as it was sent. */
	input: ManifestInput;
	bundle: string;
	initscript: { format: "wasm" | "js"; bytes: Uint8Array; sourceMap: string | undefined } | undefined;
}

/** Reads the body of `PUT /v1/functions/:name`. Throws `invalidArgument` for what is wrong with it. */
export function parseDeployment(name: string, text: string): Deployment {
	let json: unknown;
	try {
		json = JSON.parse(text);
	} catch (error) {
		throw new HeadstartError(
			"invalidArgument",
			`the body is not JSON: ${HeadstartError.from(error).message}`,
		);
	}
	const result = v.safeParse(deploymentSchema, json, { abortEarly: true });
	if (!result.success) throw deploymentError(result.issues[0]);
	const { bundle, initscript } = result.output;
	const manifest = parseManifest(result.output.manifest);
	if (JSON.stringify(manifest).length > MAX_MANIFEST)
		throw new HeadstartError("payloadTooLarge", `the manifest has more than ${MAX_MANIFEST} characters`);
	if (manifest.name !== name) {
		throw new HeadstartError(
			"invalidArgument",
			`the manifest's name is ${manifest.name}, the path's is ${name}`,
		);
	}
	const artifact = manifest.initscript?.artifact;
	if (artifact !== undefined && initscript !== undefined)
		throw new HeadstartError("invalidArgument", "initscript: it is an artifact, and its bytes came as well");
	if (artifact === undefined && (initscript === undefined) !== (manifest.initscript === undefined)) {
		const missing = initscript === undefined ? "its bytes are missing" : "the manifest has no [initscript]";
		throw new HeadstartError("invalidArgument", `initscript: ${missing}`);
	}
	return {
		manifest,
		// What could be read is one.
		input: result.output.manifest as ManifestInput,
		bundle,
		initscript: initscript && {
			format: initscript.format,
			bytes: decodeBase64(initscript.bytes),
			sourceMap: initscript.source_map,
		},
	};
}

/** Checks a tenant's deployment with the bridge and the runner, keeps it, and makes it the one that is invoked. */
export async function deploy(
	env: Env,
	tenant: string,
	{ manifest: wanted, input, bundle, initscript }: Deployment,
): Promise<DeployedFunction> {
	await checkBundle(env, tenant, bundle);
	const pulled = await pullScript(env, tenant, wanted, input);
	const manifest = await withImage(env, pulled?.manifest ?? wanted);
	const bridge = Bridge.connect(env.BRIDGE);
	let deployed: DeployedFunction;
	try {
		const runner = new TenantRunner(env, tenant, async () => bridge);
		const memory = manifest.initscript?.limits.memory;
		const script = pulled?.script ?? (initscript && (await prepared(tenant, initscript, memory)));
		if (script !== undefined) await load(runner, script.module, memory);
		deployed = {
			tenant,
			digest: await functionDigest(tenant, manifest, bundle, script?.module),
			manifest,
			bundle,
			deployedAt: Date.now(),
			...(script && { script }),
		};
		await bridge.putFunction(functionSpec(deployed));
	} finally {
		bridge[Symbol.dispose]();
	}
	if (!(await registry(env).put(deployed)))
		throw new HeadstartError("tooMany", `a tenant has at most ${MAX_FUNCTIONS} functions`);
	functions.put(withoutMap(deployed));
	return deployed;
}

/** Its source map is read when a stack is to be shown. */
function withoutMap({ script, ...it }: DeployedFunction): DeployedFunction {
	if (script === undefined) return it;
	const { sourceMap: _, ...rest } = script;
	return { ...it, script: rest };
}

/** The manifest with its image named by the digest that the image has now; the image is on the node then. */
async function withImage(env: Env, manifest: Manifest): Promise<Manifest> {
	const { image } = manifest.app;
	if (image === undefined) return manifest;
	return { ...manifest, app: { ...manifest.app, image: await prepareImage(env, image) } };
}

/** The initscript where that is an artifact, and the manifest with the digest that it has now, and with its limits. */
async function pullScript(
	env: Env,
	tenant: string,
	wanted: Manifest,
	input: ManifestInput,
): Promise<{ script: DeployedScript; manifest: Manifest } | undefined> {
	if (wanted.initscript?.artifact === undefined) return undefined;
	const found = await findInitscript(env, wanted.initscript.artifact);
	const { artifact, limits, sourceMap } = found;
	const module = await downloadInitscript(env, artifact);
	const initscript = { ...input.initscript, artifact: artifact.reference };
	// What the manifest says of them comes first.
	const manifest = parseManifest({
		...input,
		initscript: { ...initscript, limits: { ...limits, ...initscript.limits } },
	});
	const metered = await meteredLayer(tenant, found, module, manifest.initscript?.limits.memory);
	return {
		script: metered ?? { module, artifact, ...(sourceMap !== undefined && { sourceMap }) },
		manifest,
	};
}

/**
 * The artifact's layer with the metered module, where that is what this node makes of the script: only its own work is run as it
 * comes. Nobody's word is taken for it, as the digests are compared.
 */
async function meteredLayer(
	tenant: string,
	{ artifact, metered: layer }: FoundScript,
	module: ScriptModule,
	memoryBytes: number | undefined,
): Promise<DeployedScript | undefined> {
	if (layer === undefined || module.format !== "wasm") return undefined;
	const { module: own } = await prepared(
		tenant,
		{ format: "wasm", bytes: module.bytes, sourceMap: undefined },
		memoryBytes,
	);
	if (layer.digest !== `sha256:${own.digest}`) return undefined;
	return { module: own, artifact: { ...artifact, ...layer, metered: true } };
}

async function checkBundle(env: Env, tenant: string, bundle: string): Promise<void> {
	const { status } = await headBundle(env, tenant, bundle.slice("sha256:".length));
	if (status === 404) throw new HeadstartError("unknownBundle", `the node has no files ${bundle}`);
	if (status !== 200) throw new HeadstartError("internal", `the bridge answered ${status} for ${bundle}`);
}

/** An initscript that came with its deployment. */
async function prepared(
	tenant: string,
	{ format, bytes, sourceMap }: NonNullable<Deployment["initscript"]>,
	memoryBytes: number | undefined,
): Promise<DeployedScript> {
	if (bytes.length > MAX_SCRIPT_BYTES) {
		throw new HeadstartError("payloadTooLarge", `the initscript has more than ${MAX_SCRIPT_BYTES} bytes`);
	}
	if (format === "wasm") {
		await pace.turn(tenant, Math.min(bytes.length, MAX_MODULE_BYTES));
		bytes = metered(bytes, memoryBytes);
	}
	const digest = await hexDigest(bytes);
	const module: ScriptModule =
		format === "wasm"
			? { digest, format, bytes }
			: { digest, format, source: new TextDecoder().decode(bytes) };
	return sourceMap === undefined ? { module } : { module, sourceMap };
}

/** Gives it to the runner, which says whether it can run. */
async function load(
	runner: TenantRunner,
	module: ScriptModule,
	memoryBytes: number | undefined,
): Promise<void> {
	let loaded: unknown;
	try {
		await runner.claim();
		// A runner that another script has just ended is back in a moment.
		loaded = await runner.load(module, memoryBytes).catch(async () => {
			await runnerBack(runner);
			return runner.load(module, memoryBytes);
		});
	} catch (thrown) {
		const error = HeadstartError.from(thrown, "runnerLost");
		if (error.code === "tooMany") throw error;
		throw new HeadstartError("runnerLost", `the runner did not take the initscript: ${error.message}`);
	}
	const refused = parseLoad(loaded);
	if (refused !== undefined) throw new HeadstartError(refused.code, `initscript: ${refused.message}`);
}

/** The module with its bounds written in (docs/initscripts.md, "Limits"). The client is not trusted to have done it. */
function metered(bytes: Uint8Array, memoryBytes = DEFAULT_SCRIPT_LIMITS.memory): Uint8Array {
	try {
		return meter(boundMemory(bytes, memoryBytes));
	} catch (thrown) {
		if (!(thrown instanceof ModuleError)) throw thrown;
		throw new HeadstartError("invalidArgument", `initscript: ${thrown.message}`);
	}
}

function deploymentError(issue: v.BaseIssue<unknown>): HeadstartError {
	const path = v.getDotPath(issue) ?? "the body";
	if (issue.type === "strict_object" && issue.expected === "never") {
		const known = [...Object.keys(deploymentSchema.entries), "format", "bytes", "source_map"];
		const similar = nearest(String(issue.path?.at(-1)?.key ?? ""), known);
		const options = similar === undefined ? {} : { hint: `Did you mean "${similar}"?` };
		return new HeadstartError("invalidArgument", `unknown key ${path}`, options);
	}
	return new HeadstartError("invalidArgument", `${path}: ${issue.message}`);
}

function decodeBase64(text: string): Uint8Array {
	const binary = atob(text);
	const bytes = new Uint8Array(binary.length);
	for (let at = 0; at < binary.length; at++) bytes[at] = binary.charCodeAt(at);
	return bytes;
}
