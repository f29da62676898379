import { Bridge } from "../bridge/bridge.ts";
import { functions } from "../durable/node.ts";
import { adoptRunners, TenantRunner } from "../durable/runners.ts";
import type { Env } from "../shared/env.ts";
import { type DeployedFunction, functionSpec } from "../shared/function.ts";
import { registry } from "./functions.ts";

/** For how many tenants a node that has just started readies runners; the others' first starts do that. */
const READY_TENANTS = 4;

let warm = false;

/**
 * Once in a host's life: brings the deployed functions to where their starts look for them, so that the first start after
 * a restart is as fast as the others. What cannot be brought now is brought by its first start.
 */
export async function warmUp(env: Env): Promise<void> {
	if (warm) return;
	warm = true;
	const all = (await registry(env).list()) as DeployedFunction[];
	for (const it of all) if (functions.named(it.tenant, it.manifest.name) === undefined) functions.put(it);
	const bridge = Bridge.connect(env.BRIDGE);
	try {
		await adoptRunners(env, bridge);
		const scripted = all.filter(({ script }) => script !== undefined);
		const ready = [...new Set(scripted.map(({ tenant }) => tenant))].slice(0, READY_TENANTS);
		await Promise.allSettled([
			...all.map((it) => bridge.putFunction(functionSpec(it))),
			...ready.map(async (tenant) => {
				const runner = new TenantRunner(env, tenant, async () => bridge);
				await runner.claim();
				const own = scripted.filter((it) => it.tenant === tenant);
				await Promise.all(own.flatMap(({ script }) => (script ? [runner.load(script.module)] : [])));
			}),
		]);
	} finally {
		bridge[Symbol.dispose]();
	}
}
