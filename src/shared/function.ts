/** A deployed function: what the registry keeps, and what each part of the node is told of it. */
import type { FunctionSpec } from "../bridge/bridge.ts";
import type { ScriptModule } from "../isolates/protocol.ts";
import type { FunctionSummary } from "./function-summary.ts";
import { DEFAULT_SCRIPT_LIMITS, type Manifest } from "./manifest.ts";

/** An initscript that is an artifact of a registry (docs/images.md). */
export interface ScriptArtifact {
	/** "registry/name@sha256:…". */
	reference: string;
	/** "sha256:…" of its layer that starts download. */
	digest: string;
	/** Of that layer. */
	bytes: number;
	/** They are in the artifact's manifest, too. */
	embedded?: boolean;
	format: "wasm" | "js";
	/** That layer is what this node makes of the script when it meters it, byte for byte. */
	metered?: true;
}

export interface DeployedScript {
	module: ScriptModule;
	/** Where it was pulled from. */
	artifact?: ScriptArtifact;
	/** Of a TypeScript initscript: the source map's JSON, for its stacks. */
	sourceMap?: string;
}

export interface DeployedFunction {
	/** Whose it is. */
	tenant: string;
	/** Hex SHA-256 over the tenant, the manifest and the digests of its parts. */
	digest: string;
	manifest: Manifest;
	/** "sha256:<hex>" of the application's files. */
	bundle: string;
	/** Unix milliseconds. */
	deployedAt: number;
	script?: DeployedScript;
}

export function summarize({
	digest,
	manifest,
	bundle,
	deployedAt,
	script,
}: DeployedFunction): FunctionSummary {
	const summary: FunctionSummary = {
		name: manifest.name,
		digest,
		bundle,
		deployedAt,
		isolation: manifest.app.isolation,
		manifest,
	};
	if (script === undefined) return summary;
	const { module, artifact } = script;
	const { digest: scriptDigest, format } = module;
	const bytes = module.format === "wasm" ? module.bytes.length : module.source.length;
	const from = artifact === undefined ? {} : { artifact: artifact.reference };
	return { ...summary, initscript: { digest: scriptDigest, format, bytes, ...from } };
}

/** What the bridge is told. */
export function functionSpec({ tenant, digest, manifest, bundle }: DeployedFunction): FunctionSpec {
	const { app, egress, secrets } = manifest;
	const script = manifest.initscript?.limits ?? DEFAULT_SCRIPT_LIMITS;
	return {
		digest,
		name: manifest.name,
		tenant,
		bundle,
		isolation: app.isolation,
		base: app.base,
		command: app.command,
		env: pairs(app.env),
		limits: {
			memory: BigInt(app.limits.memory),
			cpuMillis: Math.round(app.limits.cpu * 1000),
			pids: app.limits.pids,
			timeoutMillis: app.limits.timeout,
			results: BigInt(script.results),
			rpcs: script.rpcs,
			connections: script.connections,
			messages: script.messages,
			rpcTimeoutMillis: script.rpc_timeout,
			eventBytes: BigInt(app.limits.event),
			answerBytes: BigInt(app.limits.answer),
		},
		egress: egress.allow,
		secrets: pairs(secrets),
		marks: app.marks,
		network: app.network,
		share: manifest.initscript?.share?.allow ?? [],
		image: app.image ?? "",
		files: Object.entries(app.files).map(([path, { size }]) => ({ path, bytes: BigInt(size) })),
		shareTtlMillis: manifest.initscript?.share?.ttl ?? 0,
	};
}

/** The digest of a function: the same for the same manifest, files and initscript of a tenant. */
export async function functionDigest(
	tenant: string,
	manifest: Manifest,
	bundle: string,
	script?: ScriptModule,
): Promise<string> {
	const text = JSON.stringify(
		[tenant, manifest, bundle, script?.digest ?? "", script?.format ?? ""],
		sortedKeys,
	);
	return hexDigest(new TextEncoder().encode(text));
}

export async function hexDigest(bytes: Uint8Array): Promise<string> {
	const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>));
	return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function pairs(record: Record<string, string>): { name: string; value: string }[] {
	return Object.entries(record).map(([name, value]) => ({ name, value }));
}

function sortedKeys(_key: string, value: unknown): unknown {
	if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
	return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
