/** Adding, changing and removing tenants, and having them in memory. */
import { cutTenant, dropTenant, putTenant, type Usage, usage } from "../bridge/tenants.ts";
import { functions, pool, tenants } from "../durable/node.ts";
import { dropRunner } from "../durable/runners.ts";
import { transcript } from "../durable/spares.ts";
import { type KnownTenant, sha256 } from "../durable/tenants.ts";
import type { Env } from "../shared/env.ts";
import { HeadstartError } from "../shared/error.ts";
import { DEFAULT_TENANT, isTenantName, type Quota, type Tenant } from "../shared/tenant.ts";
import { registry } from "./functions.ts";
import { InTurn } from "./in-turn.ts";
import { services } from "./services.ts";
import { newToken } from "./token.ts";

const MAX_TENANTS = 1000;

export interface TenantStatus extends Tenant {
	used: Usage;
}

/** Changes of one tenant: each is made of what the one before has left, so that none brings an old token or a removed tenant back. */
const changes = new InTurn();
/** How many tenants are being added. */
let adding = 0;
let loaded = false;
let loading: Promise<void> | undefined;

/** Brings the tenants into memory, once in a host's life; undefined when they are there. */
export function loadTenants(env: Env): Promise<void> | undefined {
	if (loaded) return undefined;
	loading ??= load(env).finally(() => {
		loading = undefined;
	});
	return loading;
}

/** Adds a tenant and gives its token, which nobody can be told again. Throws `alreadyExists`, `invalidArgument`, `tooMany`. */
export async function addTenant(
	env: Env,
	name: string,
	quota: Quota,
): Promise<{ tenant: Tenant; token: string }> {
	if (!isTenantName(name)) {
		throw new HeadstartError(
			"invalidArgument",
			"a tenant's name is 1 to 63 lower-case letters, digits and inner hyphens",
		);
	}
	return changes.run(name, async () => {
		if (tenants.has(name)) throw new HeadstartError("alreadyExists", `there is a tenant ${name}`);
		if (tenants.all().length + adding >= MAX_TENANTS) {
			throw new HeadstartError("tooMany", `a node has at most ${MAX_TENANTS} tenants`);
		}
		const tenant = { name, quota, createdAt: Date.now() };
		adding += 1;
		try {
			await clear(env, name);
			return { tenant, token: await keep(env, tenant) };
		} finally {
			adding -= 1;
		}
	});
}

/** Changes what a tenant may use. What it uses already stays. */
export function setQuota(env: Env, name: string, quota: Quota): Promise<Tenant> {
	return changes.run(name, async () => {
		const changed: KnownTenant = { ...tenants.get(name), quota };
		await registry(env).putTenant(changed);
		await putTenant(env.BRIDGE, changed);
		tenants.put(changed);
		return withoutHash(changed);
	});
}

/** Gives a tenant another token. The old one is worth nothing from now on, and what was begun with it ends. */
export function renewToken(env: Env, name: string): Promise<string> {
	return changes.run(name, async () => {
		const token = await keep(env, withoutHash(tenants.get(name)));
		await cutTenant(env.BRIDGE, name);
		await Promise.all(
			pool.liveOf(name).map((it) => transcript(env, it).stop("its tenant's token was replaced")),
		);
		return token;
	});
}

/** Removes a tenant: its token, its instances, its functions, its secrets, its records. */
export function removeTenant(env: Env, name: string): Promise<void> {
	return changes.run(name, () => endTenant(env, name));
}

async function endTenant(env: Env, name: string): Promise<void> {
	tenants.get(name);
	if (env.DEVELOPMENT === "1" && name === DEFAULT_TENANT) {
		throw new HeadstartError("invalidArgument", `the tenant of development, ${name}, cannot be removed`);
	}
	tenants.drop(name);
	const objects = [...pool.liveOf(name), ...pool.takeSpares(name)];
	await Promise.allSettled(objects.map((it) => transcript(env, it).stop("its tenant was removed")));
	pool.endLiveOf(name);
	dropRunner(env, name);
	try {
		await remove(env, name);
	} catch (error) {
		// It can be tried again: the registry has it still.
		const kept = ((await registry(env).tenants()) as KnownTenant[]).find((it) => it.name === name);
		if (kept !== undefined) tenants.put(kept);
		throw error;
	}
}

export async function listTenants(env: Env): Promise<TenantStatus[]> {
	const used = await usage(env.BRIDGE);
	const none: Usage = { instances: 0, memory: 0, connections: 0, services: 0 };
	return tenants.all().map((it) => ({ ...withoutHash(it), used: used.get(it.name) ?? none }));
}

/** Removes what requests of an earlier tenant of this name may have left, which were under way when that was removed. */
async function clear(env: Env, name: string): Promise<void> {
	// It may have functions from before there were tenants, or from development.
	if (name !== DEFAULT_TENANT) await remove(env, name);
}

/** Ends and removes all that is a tenant's. */
async function remove(env: Env, name: string): Promise<void> {
	functions.dropAll(name);
	await services(env).drop(name);
	await dropTenant(env.BRIDGE, name);
	await env.LOG.getByName("log").drop(name);
	await registry(env).deleteTenant(name);
}

async function load(env: Env): Promise<void> {
	for (const it of (await registry(env).tenants()) as KnownTenant[]) tenants.put(it);
	// It has no token: it is whose requests have none.
	if (env.DEVELOPMENT === "1" && !tenants.has(DEFAULT_TENANT)) {
		tenants.put({ name: DEFAULT_TENANT, quota: {}, createdAt: 0, tokenHash: new Uint8Array() });
	}
	loaded = true;
}

/** Keeps a tenant with a new token, which it gives. */
async function keep(env: Env, tenant: Tenant): Promise<string> {
	const token = newToken(tenant.name);
	const known: KnownTenant = { ...tenant, tokenHash: await sha256(new TextEncoder().encode(token)) };
	await registry(env).putTenant(known);
	await putTenant(env.BRIDGE, known);
	tenants.put(known);
	return token;
}

function withoutHash({ name, quota, createdAt }: Tenant): Tenant {
	return { name, quota, createdAt };
}
