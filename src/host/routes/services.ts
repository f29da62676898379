import { Hono } from "hono";
import { readEvent } from "../../durable/transcript/event-body.ts";
import { HeadstartError } from "../../shared/error.ts";
import type { Answer, ServiceInstance } from "../../shared/service.ts";
import { tenantOf } from "../access.ts";
import { dropCached } from "../drop.ts";
import type { HostEnv } from "../env.ts";
import { listServices, loadService, services } from "../services.ts";

/** Of a service's input: it is kept for restarts. */
const MAX_INPUT_BYTES = 1 << 20;

/** `/v1/services`: long-running programs (docs/services.md). They are deployed as functions are. */
export const serviceRoutes = new Hono<HostEnv>();

serviceRoutes.get("/", async ({ env, json, var: { access } }) =>
	json({ services: await listServices(env, tenantOf(access)) }),
);

serviceRoutes.get("/:name/instances", async ({ req, env, json, var: { access } }) => {
	const tenant = tenantOf(access);
	const name = req.param("name");
	await loadService(env, tenant, name);
	return json({ instances: await services(env).list(tenant, name) });
});

serviceRoutes.post("/:name/instances", async ({ req, env, json, var: { access } }) => {
	const tenant = tenantOf(access);
	const deployed = await loadService(env, tenant, req.param("name"));
	const { manifest } = deployed;
	const input = await readEvent(req.raw, Math.min(manifest.app.limits.event, MAX_INPUT_BYTES));
	const wait = req.query("wait") !== "0";
	const withoutCaches = req.query("cold") === "image";
	if (withoutCaches) await dropCached(env, deployed);
	const how = { wait, withoutCaches };
	const started = (await services(env).start(tenant, manifest.name, input, how)) as Answer<ServiceInstance>;
	if ("error" in started) throw new HeadstartError(started.error.code, started.error.message);
	return json(started.ok, wait ? 201 : 202);
});

serviceRoutes.get("/:name/instances/:id", async ({ req, env, json, var: { access } }) => {
	const found = (await services(env).get(tenantOf(access), req.param("id"))) as ServiceInstance | undefined;
	return json(checked(found, req.param("name"), req.param("id")));
});

serviceRoutes.delete("/:name/instances/:id", async ({ req, env, json, var: { access } }) => {
	const tenant = tenantOf(access);
	const id = req.param("id");
	const before = (await services(env).get(tenant, id)) as ServiceInstance | undefined;
	checked(before, req.param("name"), id);
	const ended = (await services(env).stop(tenant, id)) as ServiceInstance | undefined;
	return json(checked(ended, req.param("name"), id));
});

function checked(found: ServiceInstance | undefined, name: string, id: string): ServiceInstance {
	if (found?.service === name) return found;
	throw new HeadstartError("unknownInstance", `service ${name} has no instance ${id}`);
}
