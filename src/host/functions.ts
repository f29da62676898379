import { functions } from "../durable/node.ts";
import type { Registry } from "../durable/registry.ts";
import type { Env } from "../shared/env.ts";
import { HeadstartError } from "../shared/error.ts";
import type { DeployedFunction } from "../shared/function.ts";

/** The registry object. */
export function registry(env: Env): DurableObjectStub<Registry> {
	return env.REGISTRY.getByName("registry");
}

/** Reads a function that is not in the cache. Throws `unknownFunction`. */
export async function loadFunction(env: Env, tenant: string, name: string): Promise<DeployedFunction> {
	const found = (await registry(env).get(tenant, name)) as DeployedFunction | undefined;
	if (found === undefined) throw new HeadstartError("unknownFunction", `no function is named ${name}`);
	functions.put(found);
	return found;
}
