import { Bridge } from "../bridge/bridge.ts";
import { functions } from "../durable/node.ts";
import type { ListedFunction } from "../durable/registry.ts";
import { adoptRunners, TenantRunner } from "../durable/runners.ts";
import type { Env } from "../shared/env.ts";
import { functionSpec } from "../shared/function.ts";
import { listFunctions, loadFunction } from "./functions.ts";

/** For how many tenants a node that has just started readies runners; the others' first starts do that. */
const READY_TENANTS = 4;

let warming: Promise<void> | undefined;

/**
 * Once in a host's life: brings the deployed functions to where their starts look for them, so that the first start after
 * a restart is as fast as the others. What cannot be brought now is brought by its first start.
 */
export function warmUp(env: Env): Promise<void> {
	warming ??= warm(env).catch((error: unknown) => {
		warming = undefined;
		throw error;
	});
	return warming;
}

async function warm(env: Env): Promise<void> {
	const bridge = Bridge.connect(env.BRIDGE);
	try {
		await adoptRunners(env, bridge);
		const { changes } = functions;
		const all = await listFunctions(env);
		for (const { tenant, digest, manifest, bundle, deployedAt, initscript } of all)
			if (initscript === undefined)
				functions.putRead({ tenant, digest, manifest, bundle, deployedAt }, changes);
		const scripted = all.filter(({ initscript }) => initscript !== undefined);
		const ready = [...new Set(scripted.map(({ tenant }) => tenant))].slice(0, READY_TENANTS);
		await Promise.allSettled([
			...all.map((it) => bridge.putFunction(functionSpec(it))),
			...ready.map(async (tenant) => {
				const runner = new TenantRunner(env, tenant, async () => bridge);
				await runner.claim();
				await Promise.all(
					scripted.filter((it) => it.tenant === tenant).map((it) => warmScript(env, runner, it)),
				);
			}),
		]);
	} finally {
		bridge[Symbol.dispose]();
	}
}

/** Has the function here, and its initscript in the runner. */
async function warmScript(env: Env, runner: TenantRunner, { tenant, name }: ListedFunction): Promise<void> {
	const { script } = functions.named(tenant, name) ?? (await loadFunction(env, tenant, name));
	if (script !== undefined) await runner.load(script.module);
}
