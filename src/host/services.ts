import { functions } from "../durable/node.ts";
import type { Services } from "../durable/services.ts";
import type { Env } from "../shared/env.ts";
import { HeadstartError } from "../shared/error.ts";
import type { DeployedFunction } from "../shared/function.ts";
import { isOver, type ServiceInstance, type ServiceSpec, type ServiceSummary } from "../shared/service.ts";
import { listFunctions, loadFunction } from "./functions.ts";

/** The object that has the node's services. */
export function services(env: Env): DurableObjectStub<Services> {
	return env.SERVICES.getByName("services");
}

let resumed = false;

/** Once in a host's life: takes over the services of its last one. */
export async function resumeServices(env: Env): Promise<void> {
	if (resumed) return;
	resumed = true;
	await services(env).resume();
}

/** A deployed service. Throws `unknownService`. */
export async function loadService(env: Env, tenant: string, name: string): Promise<DeployedFunction> {
	const found =
		functions.named(tenant, name) ??
		(await loadFunction(env, tenant, name).catch((thrown: unknown) => {
			if (thrown instanceof HeadstartError && thrown.code === "unknownFunction") return undefined;
			throw thrown;
		}));
	if (found?.manifest.service === undefined)
		throw new HeadstartError("unknownService", `no service is named ${name}`);
	return found;
}

/** The services of a tenant, each with what runs of it. */
export async function listServices(env: Env, tenant: string): Promise<ServiceSummary[]> {
	const [deployed, instances] = await Promise.all([
		listFunctions(env, tenant),
		services(env).list(tenant) as Promise<ServiceInstance[]>,
	]);
	return deployed.flatMap(({ manifest, digest, deployedAt }) => {
		const { name, service } = manifest;
		return service === undefined ? [] : [summary(name, digest, deployedAt, service, instances)];
	});
}

function summary(
	name: string,
	digest: string,
	deployedAt: number,
	service: ServiceSpec,
	instances: ServiceInstance[],
): ServiceSummary {
	const live = instances.filter((it) => it.service === name && !isOver(it.state));
	return { name, digest, deployedAt, service, instances: live };
}
