import { Hono } from "hono";
import { functions, pool } from "../../durable/node.ts";
import { transcript } from "../../durable/spares.ts";
import { HeadstartError } from "../../shared/error.ts";
import { type DeployedFunction, summarize } from "../../shared/function.ts";
import { deploy, parseDeployment } from "../deploy.ts";
import type { HostEnv } from "../env.ts";
import { loadFunction, registry } from "../functions.ts";
import { limitedBody } from "../limited-body.ts";

/** A deployment with an initscript of 64 MB in base64. */
const MAX_DEPLOYMENT_BYTES = 96 << 20;

/** `/v1/functions`: what is deployed. */
export const functionRoutes = new Hono<HostEnv>();

functionRoutes.get("/", async ({ env, json }) => {
	const all = (await registry(env).list()) as DeployedFunction[];
	return json({ functions: all.map(summarize) });
});

functionRoutes.get("/:name", async ({ req, env, json }) => {
	const name = req.param("name");
	return json(summarize(functions.named(name) ?? (await loadFunction(env, name))));
});

functionRoutes.put("/:name", async ({ req, env, json, executionCtx }) => {
	const text = await limitedBody(req.raw, MAX_DEPLOYMENT_BYTES);
	const deployment = parseDeployment(req.param("name"), text);
	const before = functions.named(req.param("name"));
	const deployed = await deploy(env, deployment);
	if (before !== undefined && before.digest !== deployed.digest) {
		executionCtx.waitUntil(retire(env, before.digest));
	}
	return json(summarize(deployed));
});

functionRoutes.delete("/:name", async ({ req, env, body, executionCtx }) => {
	const name = req.param("name");
	const known = functions.named(name);
	functions.drop(name);
	if (!(await registry(env).delete(name))) {
		throw new HeadstartError("unknownFunction", `no function is named ${name}`);
	}
	if (known !== undefined) executionCtx.waitUntil(retire(env, known.digest));
	return body(null, 204);
});

/** Ends the idle instances of a version that is not deployed any more; busy ones end with their invocation. */
async function retire(env: HostEnv["Bindings"], digest: string): Promise<void> {
	const idle = pool.warmOf(digest).filter((name) => pool.removeWarm(digest, name));
	await Promise.all(idle.map((name) => transcript(env, name).stop("another version was deployed")));
}
