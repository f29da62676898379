/**
 * Applications' files. The node keeps those of all tenants together, but a tenant has only what it has sent itself; what no
 * deployed version uses is removed after a while, or when room is needed.
 */
import { bridgeBundles, bundleBytes, bundleUrl, dropBundle } from "../bridge/bundles.ts";
import { bridgeError } from "../bridge/http-error.ts";
import type { BundleBytes } from "../durable/bundle-table.ts";
import { tenants } from "../durable/node.ts";
import type { Env } from "../shared/env.ts";
import { HeadstartError } from "../shared/error.ts";
import { DEFAULT_BUNDLES } from "../shared/tenant.ts";
import { registry } from "./functions.ts";
import { InTurn } from "./in-turn.ts";

/** How much of the disk they may take in all, bytes. */
const MAX_NODE_BYTES = 64 * 2 ** 30;
/** How long files stay that were put, or asked for, and are not deployed, milliseconds. */
const KEEP_MS = 60 * 60_000;
/** The same where a tenant's room is used up: longer than a deployment takes that pulls its image. */
const KEEP_SHORT_MS = 15 * 60_000;
/** Of the bridge's answer: how much of the disk a bundle takes. */
const BYTES_HEADER = "x-headstart-bytes";
/** The tenant's first: its own unused files make room for it before those of others. */
const BOUNDS = ["tenant", "node"] as const;

/** What is done to one bundle. */
const changes = new InTurn();
let collecting: Promise<void> | undefined;

/** Asks for an application's files by their SHA-256 in hex: 200 or 404. */
export async function headBundle(env: Env, tenant: string, hex: string): Promise<Response> {
	if (!(await registry(env).hasBundle(tenant, hex))) return new Response(null, { status: 404 });
	return env.BRIDGE.fetch(bundleUrl(hex), { method: "HEAD" });
}

/** Takes an application's files in. Throws `quotaExceeded` and `diskFull` where there is no room. */
export async function putBundle(env: Env, tenant: string, hex: string, request: Request): Promise<Response> {
	await makeRoom(env, tenant);
	const length = request.headers.get("content-length");
	const answer = await env.BRIDGE.fetch(bundleUrl(hex), {
		method: "PUT",
		body: request.body,
		headers: length === null ? {} : { "content-length": length },
	});
	if (!answer.ok) throw await bridgeError(answer);
	const bytes = Number(answer.headers.get(BYTES_HEADER) ?? 0);
	await changes.run(hex, async () => {
		const broken = await note(env, tenant, hex, bytes);
		if (broken !== undefined) {
			await dropUnknown(env, hex);
			throw full(broken, await registry(env).bundleBytes(tenant), bounds(tenant), bytes);
		}
		const { status } = await headBundle(env, tenant, hex);
		if (status !== 200)
			throw new HeadstartError("unknownBundle", `the files ${hex} were removed while they were put`);
	});
	return new Response(null, { status: answer.status });
}

/** Removes what no deployed version uses and nobody has asked for of late, and what nobody has. */
export function collectBundles(env: Env): Promise<void> {
	collecting ??= collect(env, KEEP_MS).finally(() => {
		collecting = undefined;
	});
	return collecting;
}

/** The same where nobody waits for it. */
export async function tidied(env: Env): Promise<void> {
	await collectBundles(env).catch((error: unknown) => console.error("bundles are not collected", error));
}

function bounds(tenant: string): BundleBytes {
	return { tenant: tenants.get(tenant).quota.bundles ?? DEFAULT_BUNDLES, node: MAX_NODE_BYTES };
}

/** Where there is none left nobody sends files in vain. How much they take is known when they are here. */
async function makeRoom(env: Env, tenant: string): Promise<void> {
	const most = bounds(tenant);
	const broken = (used: BundleBytes): keyof BundleBytes | undefined =>
		BOUNDS.find((bound) => used[bound] >= most[bound]);
	let used: BundleBytes = await registry(env).bundleBytes(tenant);
	const first = broken(used);
	if (first === undefined) return;
	await collect(env, KEEP_SHORT_MS, first === "tenant" ? tenant : undefined);
	used = await registry(env).bundleBytes(tenant);
	const still = broken(used);
	if (still !== undefined) throw full(still, used, most);
}

/** Counts files that have come, however many came at one time. Gives the bound for which there is no room for them. */
async function note(
	env: Env,
	tenant: string,
	hex: string,
	bytes: number,
): Promise<keyof BundleBytes | undefined> {
	const put = async (): Promise<keyof BundleBytes | undefined> =>
		registry(env).putBundle(tenant, hex, bytes, bounds(tenant));
	const broken = await put();
	if (broken === undefined) return undefined;
	// Files that are forgotten leave the disk with the next collection.
	const before = Date.now() - KEEP_SHORT_MS;
	await registry(env).forgetBundles(before, broken === "tenant" ? tenant : undefined);
	return put();
}

function full(bound: keyof BundleBytes, used: BundleBytes, most: BundleBytes, bytes = 0): HeadstartError {
	const more = bytes > 0 ? `, these are ${bytes} more` : "";
	if (bound === "node")
		return new HeadstartError(
			"diskFull",
			`applications' files take ${used.node} of ${most.node} bytes${more}`,
		);
	const message = `the files of the tenant's applications take ${used.tenant} bytes${more}, and its quota of bundles is ${most.tenant}`;
	const hint = "Remove functions, or raise the quota. What no deployed version uses goes within the hour.";
	return new HeadstartError("quotaExceeded", message, { hint });
}

async function collect(env: Env, keepMs: number, tenant?: string): Promise<void> {
	await measure(env);
	await registry(env).forgetBundles(Date.now() - keepMs, tenant);
	const onDisk = await bridgeBundles(env.BRIDGE);
	for (const hex of await unknown(env, onDisk)) await changes.run(hex, () => dropUnknown(env, hex));
}

/** Counts what was put before anybody counted. */
async function measure(env: Env): Promise<void> {
	for (const hex of await registry(env).unmeasuredBundles()) {
		const bytes = await bundleBytes(env.BRIDGE, hex);
		if (bytes !== undefined) await registry(env).measureBundle(hex, bytes);
	}
}

async function unknown(env: Env, all: string[]): Promise<string[]> {
	return registry(env).unknownBundles(all);
}

/** Removes files, unless somebody has them, or has put them meanwhile. */
async function dropUnknown(env: Env, hex: string): Promise<void> {
	if ((await unknown(env, [hex])).length === 0) return;
	await dropBundle(env.BRIDGE, hex).catch((error: unknown) => {
		// What still runs of an old version keeps it until the next time.
		if (HeadstartError.from(error).code !== "imageInUse") throw error;
	});
}
