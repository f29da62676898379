import { Hono } from "hono";
import { dropSecret, listSecrets, putSecret } from "../../bridge/tenants.ts";
import { functions } from "../../durable/node.ts";
import { retire } from "../../durable/spares.ts";
import { HeadstartError } from "../../shared/error.ts";
import { tenantOf } from "../access.ts";
import type { HostEnv } from "../env.ts";
import { limitedBody } from "../limited-body.ts";

const MAX_SECRET_BYTES = 64 << 10;

/** `/v1/secrets`: written, listed by name and kind, removed; never read. The bridge alone has the values. */
export const secrets = new Hono<HostEnv>();

secrets.get("/", async ({ env, json, var: { access } }) =>
	json({ secrets: await listSecrets(env.BRIDGE, tenantOf(access)) }),
);

secrets.put("/:name", async ({ req, env, body, var: { access }, executionCtx }) => {
	const tenant = tenantOf(access);
	const name = checkedName(req.param("name"));
	await putSecret(env.BRIDGE, tenant, name, await limitedBody(req.raw, MAX_SECRET_BYTES));
	executionCtx.waitUntil(forget(env, tenant, name));
	return body(null, 204);
});

secrets.delete("/:name", async ({ req, env, body, var: { access }, executionCtx }) => {
	const tenant = tenantOf(access);
	const name = checkedName(req.param("name"));
	await dropSecret(env.BRIDGE, tenant, name);
	executionCtx.waitUntil(forget(env, tenant, name));
	return body(null, 204);
});

/** Ends the idle instances that have the secret's old value. */
async function forget(env: HostEnv["Bindings"], tenant: string, secret: string): Promise<void> {
	const users = functions
		.of(tenant)
		.filter(({ manifest }) => Object.values(manifest.secrets).includes(secret));
	await Promise.all(users.map(({ digest }) => retire(env, digest, "a secret of it was changed")));
}

function checkedName(name: string): string {
	if (/^[A-Za-z0-9_-]{1,64}$/.test(name)) return name;
	throw new HeadstartError(
		"invalidArgument",
		"a secret's name is 1 to 64 letters, digits, hyphens and underscores",
	);
}
