import { functions } from "../durable/node.ts";
import type { FunctionPage, ListedFunction, Registry } from "../durable/registry.ts";
import type { Env } from "../shared/env.ts";
import { HeadstartError } from "../shared/error.ts";
import type { DeployedFunction } from "../shared/function.ts";

/** The registry object. */
export function registry(env: Env): DurableObjectStub<Registry> {
	return env.REGISTRY.getByName("registry");
}

/** Reads a function that is not in the cache. Throws `unknownFunction`. */
export async function loadFunction(env: Env, tenant: string, name: string): Promise<DeployedFunction> {
	const { changes } = functions;
	const found = (await registry(env).get(tenant, name)) as DeployedFunction | undefined;
	if (found === undefined) throw new HeadstartError("unknownFunction", `no function is named ${name}`);
	functions.putRead(found, changes);
	return found;
}

/** A tenant's functions, by name; without one all of the node's. */
export async function listFunctions(env: Env, tenant?: string): Promise<ListedFunction[]> {
	const all: ListedFunction[] = [];
	for (;;) {
		const last = all.at(-1);
		const after = last && { tenant: last.tenant, name: last.name };
		const { functions: page, more } = (await registry(env).list(tenant, after)) as FunctionPage;
		all.push(...page);
		if (!more || page.length === 0) return all;
	}
}
