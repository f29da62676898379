/** Tenants and their secrets at the bridge: plain HTTP on its socket (docs/architecture.md). */
import { HeadstartError } from "../shared/error.ts";
import type { Tenant } from "../shared/tenant.ts";
import { bridgeError } from "./http-error.ts";

/** What a tenant uses now. */
export interface Usage {
	instances: number;
	memory: number;
	connections: number;
	services: number;
}

export interface SecretInfo {
	name: string;
	kind: string;
}

/** Tells the bridge of a tenant and what of its quota is counted there. */
export async function putTenant(bridge: Fetcher, { name, quota }: Tenant): Promise<void> {
	const { bundles: _, ...counted } = quota;
	await ask(bridge, `/tenants/${name}`, { method: "PUT", body: JSON.stringify(counted) });
}

/** Ends a tenant's instances and removes its secrets. */
export async function dropTenant(bridge: Fetcher, name: string): Promise<void> {
	await ask(bridge, `/tenants/${name}`, { method: "DELETE" });
}

/** Ends what follows a tenant's log lines. */
export async function cutTenant(bridge: Fetcher, name: string): Promise<void> {
	await ask(bridge, `/tenants/${name}/cut`, { method: "POST" });
}

/** What each tenant uses that the bridge has heard of. */
export async function usage(bridge: Fetcher): Promise<Map<string, Usage>> {
	const answer = await ask(bridge, "/tenants");
	const { tenants } = (await answer.json()) as { tenants: { name: string; used: Usage }[] };
	return new Map(tenants.map(({ name, used }) => [name, used]));
}

/** Keeps a secret. `json` is passed on as it came. */
export async function putSecret(bridge: Fetcher, tenant: string, name: string, json: string): Promise<void> {
	await ask(bridge, `/secrets/${tenant}/${name}`, { method: "PUT", body: json });
}

export async function dropSecret(bridge: Fetcher, tenant: string, name: string): Promise<void> {
	await ask(bridge, `/secrets/${tenant}/${name}`, { method: "DELETE" });
}

export async function listSecrets(bridge: Fetcher, tenant: string): Promise<SecretInfo[]> {
	const answer = await ask(bridge, `/secrets/${tenant}`);
	return ((await answer.json()) as { secrets: SecretInfo[] }).secrets;
}

/** Replaces the key that all tenants' secrets are sealed with. `unreadable`: those that opened with no key before. */
export async function rotateKey(bridge: Fetcher): Promise<{ sealed: number; unreadable: number }> {
	return (await ask(bridge, "/node-key", { method: "POST" })).json();
}

async function ask(bridge: Fetcher, path: string, init: RequestInit = {}): Promise<Response> {
	let answer: Response;
	try {
		answer = await bridge.fetch(`http://bridge${path}`, init);
	} catch (error) {
		const { message } = HeadstartError.from(error);
		throw new HeadstartError("bridgeLost", `the bridge does not answer: ${message}`);
	}
	if (!answer.ok) throw await bridgeError(answer);
	return answer;
}
