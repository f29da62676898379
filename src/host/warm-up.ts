import { Bridge } from "../bridge/bridge.ts";
import { functions } from "../durable/node.ts";
import type { ListedFunction } from "../durable/registry.ts";
import { adoptRunners, TenantRunner } from "../durable/runners.ts";
import type { Env } from "../shared/env.ts";
import { functionSpec } from "../shared/function.ts";
import { listFunctions, loadFunction } from "./functions.ts";

/** So many tenants with initscripts have runners when a node has just started; the others' first starts make theirs. */
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
		const alive = await adoptRunners(env, bridge);
		const { changes } = functions;
		const all = await listFunctions(env);
		for (const { tenant, digest, manifest, bundle, deployedAt, initscript } of all)
			if (initscript === undefined)
				functions.putRead({ tenant, digest, manifest, bundle, deployedAt }, changes);
		const scripted = all.filter(({ initscript }) => initscript !== undefined);
		const ready = readied(new Set(scripted.map(({ tenant }) => tenant)), new Set(alive));
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

/** Of the tenants with initscripts all whose runner is alive, for that costs no other process, and as many more as there should be. */
export function readied(scripted: ReadonlySet<string>, alive: ReadonlySet<string>): string[] {
	const kept = [...scripted].filter((tenant) => alive.has(tenant));
	const others = [...scripted].filter((tenant) => !alive.has(tenant));
	return [...kept, ...others.slice(0, Math.max(0, READY_TENANTS - kept.length))];
}

/** Has the function here, and its initscript in the runner. */
async function warmScript(env: Env, runner: TenantRunner, { tenant, name }: ListedFunction): Promise<void> {
	const { script } = functions.named(tenant, name) ?? (await loadFunction(env, tenant, name));
	if (script !== undefined) await runner.load(script.module);
}
