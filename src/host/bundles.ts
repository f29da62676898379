/**
 * Applications' files. The node keeps those of all tenants together, but a tenant has only what it has sent itself; what no
 * deployed version uses is removed after a while, or when room is needed.
 */
import { bridgeBundles, bundleUrl, dropBundle } from "../bridge/bundles.ts";
import { bridgeError } from "../bridge/http-error.ts";
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
		await registry(env).putBundle(tenant, hex, bytes);
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

async function makeRoom(env: Env, tenant: string): Promise<void> {
	const quota = tenants.get(tenant).quota.bundles ?? DEFAULT_BUNDLES;
	const used = async (): Promise<{ tenant: number; node: number }> => registry(env).bundleBytes(tenant);
	let { tenant: own, node } = await used();
	if (own >= quota || node >= MAX_NODE_BYTES) {
		await collect(env, KEEP_SHORT_MS, own >= quota ? tenant : undefined);
		({ tenant: own, node } = await used());
	}
	if (own >= quota) {
		const message = `the files of the tenant's applications take ${own} bytes, and its quota of bundles is ${quota}`;
		const hint = "Remove functions, or raise the quota. What no deployed version uses goes within the hour.";
		throw new HeadstartError("quotaExceeded", message, { hint });
	}
	if (node >= MAX_NODE_BYTES)
		throw new HeadstartError("diskFull", `applications' files take ${node} of ${MAX_NODE_BYTES} bytes`);
}

async function collect(env: Env, keepMs: number, tenant?: string): Promise<void> {
	await registry(env).forgetBundles(Date.now() - keepMs, tenant);
	const unknown = async (all: string[]): Promise<string[]> => registry(env).unknownBundles(all);
	for (const hex of await unknown(await bridgeBundles(env.BRIDGE))) {
		await changes.run(hex, async () => {
			// Somebody may have put it meanwhile.
			if ((await unknown([hex])).length === 0) return;
			await dropBundle(env.BRIDGE, hex).catch((error: unknown) => {
				// What still runs of an old version keeps it until the next time.
				if (HeadstartError.from(error).code !== "imageInUse") throw error;
			});
		});
	}
}
