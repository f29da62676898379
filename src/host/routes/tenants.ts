import { Hono } from "hono";
import { HeadstartError } from "../../shared/error.ts";
import { parseQuota } from "../../shared/tenant.ts";
import { checkOperator } from "../access.ts";
import { tidied } from "../bundles.ts";
import type { HostEnv } from "../env.ts";
import { limitedBody } from "../limited-body.ts";
import { addTenant, listTenants, removeTenant, renewToken, setQuota } from "../tenants.ts";

const MAX_BODY = 4096;

/** `/v1/tenants`, for the operator. A tenant's token is told once, when it is made. */
export const tenantRoutes = new Hono<HostEnv>();

tenantRoutes.use(async ({ var: { access } }, next) => {
	checkOperator(access);
	await next();
});

tenantRoutes.get("/", async ({ env, json }) => json({ tenants: await listTenants(env) }));

tenantRoutes.post("/:name", async ({ req, env, json }) => {
	const { tenant, token } = await addTenant(env, req.param("name"), parseQuota(await bodyOf(req.raw)));
	return json({ ...tenant, token }, 201);
});

tenantRoutes.put("/:name/quota", async ({ req, env, json }) =>
	json(await setQuota(env, req.param("name"), parseQuota(await bodyOf(req.raw)))),
);

tenantRoutes.post("/:name/token", async ({ req, env, json }) =>
	json({ token: await renewToken(env, req.param("name")) }),
);

tenantRoutes.delete("/:name", async ({ req, env, body, executionCtx }) => {
	await removeTenant(env, req.param("name"));
	executionCtx.waitUntil(tidied(env));
	return body(null, 204);
});

/** The body as JSON; an empty one is an empty object. */
async function bodyOf(request: Request): Promise<unknown> {
	const text = await limitedBody(request, MAX_BODY);
	try {
		return text === "" ? {} : JSON.parse(text);
	} catch {
		throw new HeadstartError("invalidArgument", "the body is not JSON");
	}
}
