import { Hono } from "hono";
import { functions } from "../../durable/node.ts";
import { HeadstartError } from "../../shared/error.ts";
import { summarize } from "../../shared/function.ts";
import { tenantOf } from "../access.ts";
import { tidied } from "../bundles.ts";
import { deploy, parseDeployment } from "../deploy.ts";
import type { HostEnv } from "../env.ts";
import { listFunctions, loadFunction, registry } from "../functions.ts";
import { Gate } from "../gate.ts";
import { limitedBody } from "../limited-body.ts";
import { services } from "../services.ts";
import { withdraw } from "../withdraw.ts";

/** A deployment with the longest initscript, in base64, and the longest source map. */
const MAX_DEPLOYMENT_BYTES = 24 << 20;
/** How long its body may take. */
const BODY_MS = 60_000;

/** Each has its body in the host's memory, and its module is worked on there. */
const gate = new Gate("deployments", { most: 24, mostOfTenant: 3, waiting: 32, waitMs: 30_000 });

/** `/v1/functions`: what is deployed. */
export const functionRoutes = new Hono<HostEnv>();

functionRoutes.get("/", async ({ env, json, var: { access } }) => {
	const all = await listFunctions(env, tenantOf(access));
	return json({ functions: all.map(({ tenant: _, ...summary }) => summary) });
});

functionRoutes.get("/:name", async ({ req, env, json, var: { access } }) => {
	const tenant = tenantOf(access);
	const name = req.param("name");
	return json(summarize(functions.named(tenant, name) ?? (await loadFunction(env, tenant, name))));
});

functionRoutes.put("/:name", async ({ req, env, json, var: { access }, executionCtx }) => {
	const tenant = tenantOf(access);
	const name = req.param("name");
	return gate.through(tenant, async () => {
		const text = await limitedBody(req.raw, MAX_DEPLOYMENT_BYTES, BODY_MS);
		const deployment = parseDeployment(name, text);
		const before = functions.named(tenant, name);
		const deployed = await deploy(env, tenant, deployment);
		if (before !== undefined && before.digest !== deployed.digest) {
			executionCtx.waitUntil(withdraw(env, before.digest, "another version was deployed"));
		}
		executionCtx.waitUntil(tidied(env));
		return json(summarize(deployed));
	});
});

functionRoutes.delete("/:name", async ({ req, env, body, var: { access }, executionCtx }) => {
	const tenant = tenantOf(access);
	const name = req.param("name");
	const known = functions.named(tenant, name);
	functions.drop(tenant, name);
	if (!(await registry(env).delete(tenant, name))) {
		throw new HeadstartError("unknownFunction", `no function is named ${name}`);
	}
	if (known !== undefined) executionCtx.waitUntil(withdraw(env, known.digest, "the function was removed"));
	executionCtx.waitUntil(services(env).stopAll(tenant, name));
	executionCtx.waitUntil(tidied(env));
	return body(null, 204);
});
