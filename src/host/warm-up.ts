import { Bridge } from "../bridge/bridge.ts";
import { functions } from "../durable/node.ts";
import type { Env } from "../shared/env.ts";
import { type DeployedFunction, functionSpec } from "../shared/function.ts";
import { registry } from "./functions.ts";

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
		await Promise.allSettled([
			...all.map((it) => bridge.putFunction(functionSpec(it))),
			...all.flatMap(({ script }) => (script === undefined ? [] : [env.RUNNER.load(script.module)])),
		]);
	} finally {
		bridge[Symbol.dispose]();
	}
}
