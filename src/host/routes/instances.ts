import { Hono } from "hono";
import type { Log } from "../../durable/log.ts";
import { bootId, pool } from "../../durable/node.ts";
import { noteOrphans } from "../../durable/orphans.ts";
import { transcript } from "../../durable/spares.ts";
import type { Env } from "../../shared/env.ts";
import { HeadstartError } from "../../shared/error.ts";
import type { InstanceRecord, InstanceSummary } from "../../shared/record.ts";
import { tenantOf } from "../access.ts";
import type { HostEnv } from "../env.ts";
import { services } from "../services.ts";

const MAX_LISTED = 500;

/** `/v1/instances`: live ones from their objects, ended ones from the log. */
export const instances = new Hono<HostEnv>();

instances.get("/", async ({ req, env, json, var: { access } }) => {
	const tenant = tenantOf(access);
	const limit = parseLimit(req.query("limit"));
	await noteOrphans(env);
	const [ended, live] = await Promise.all([
		log(env).list(bootId(), tenant, limit) as Promise<InstanceSummary[]>,
		Promise.all(pool.liveOf(tenant).map((name) => transcript(env, name).summary())),
	]);
	const byId = new Map(ended.map((it) => [it.id, it]));
	for (const it of live as (InstanceSummary | undefined)[]) if (it !== undefined) byId.set(it.id, it);
	const sorted = [...byId.values()].sort((a, b) => b.startedAt - a.startedAt);
	return json({ instances: sorted.slice(0, limit) });
});

instances.get("/:id", async ({ req, env, json, var: { access } }) => {
	const tenant = tenantOf(access);
	const id = await instanceOf(env, tenant, req.param("id"));
	const name = pool.live(tenant, id);
	await noteOrphans(env);
	const live = name === undefined ? undefined : await transcript(env, name).record();
	const record = (live?.id === id ? live : await log(env).get(bootId(), tenant, id)) as
		| InstanceRecord
		| undefined;
	if (record === undefined) throw new HeadstartError("unknownInstance", `there is no instance ${id}`);
	return json(record);
});

instances.delete("/:id", async ({ req, env, body, var: { access } }) => {
	const name = pool.live(tenantOf(access), req.param("id"));
	if (name === undefined)
		throw new HeadstartError("unknownInstance", `no instance ${req.param("id")} is running`);
	await transcript(env, name).stop("it was asked to");
	return body(null, 202);
});

/** The instance that is meant: of a service the one that serves, or served last. */
async function instanceOf(env: Env, tenant: string, id: string): Promise<string> {
	if (!id.startsWith("s-")) return id;
	return (await services(env).get(tenant, id))?.instance ?? id;
}

function log(env: Env): DurableObjectStub<Log> {
	return env.LOG.getByName("log");
}

function parseLimit(text: string | undefined): number {
	const limit = text === undefined ? 100 : Number(text);
	if (Number.isInteger(limit) && limit >= 1 && limit <= MAX_LISTED) return limit;
	throw new HeadstartError("invalidArgument", `limit=${text}: a number from 1 to ${MAX_LISTED} was expected`);
}
