import { Hono } from "hono";
import { rotateKey } from "../../bridge/tenants.ts";
import { functions, tenants } from "../../durable/node.ts";
import { refill } from "../../durable/spares.ts";
import { HeadstartError } from "../../shared/error.ts";
import { checkOperator, tenantOf } from "../access.ts";
import { tidied } from "../bundles.ts";
import type { HostEnv } from "../env.ts";
import { authenticate } from "../guard.ts";
import { resumeServices } from "../services.ts";
import { loadTenants } from "../tenants.ts";
import { warmUp } from "../warm-up.ts";

/** For how many tenants a node that has just started makes spares; the others' are made by their first starts. */
const READY_TENANTS = 4;

/** Whether this life of the host has looked for files that nobody needs. */
let hasTidied = false;

/** The node itself: health, metrics, logs. */
export const node = new Hono<HostEnv>();

/**
 * Healthy when the bridge answers and spares are ready: whoever waits for it finds fast starts. What has ended is in the log
 * then. Anybody on this machine may ask; a node that wants tokens tells only the status.
 */
node.get("/healthz", async ({ env, json, executionCtx }) => {
	await env.LOG.getByName("log").write();
	const health = await bridge(env, "/healthz");
	const body = (await health.json()) as { status: string };
	if (body.status === "ok") {
		await loadTenants(env);
		await warmUp(env);
		await resumeServices(env);
		if (!hasTidied) executionCtx.waitUntil(tidied(env));
		hasTidied = true;
		await Promise.all(expected().map((tenant) => refill(env, tenant)));
	}
	return json(env.DEVELOPMENT === "1" ? body : { status: body.status }, health.ok ? 200 : 503);
});

node.get("/metrics", authenticate, ({ env, var: { access } }) => {
	checkOperator(access);
	return bridge(env, "/metrics");
});

/** Another key for all tenants' secrets. */
node.post("/v1/node/key", async ({ env, json, var: { access } }) => {
	checkOperator(access);
	return json(await rotateKey(env.BRIDGE));
});

/** Who asks, and what the node is. */
node.get("/v1/node", async ({ env, json, var: { access } }) => {
	const health = (await (await bridge(env, "/healthz")).json()) as { status: string; version: string };
	return json({
		status: health.status,
		version: health.version,
		access: env.DEVELOPMENT === "1" ? "development" : "tokens",
		tenant: access.tenant ?? null,
		operator: access.operator,
	});
});

/** A tenant sees its instances' lines, the operator those of runner and bridge, too. */
node.get("/v1/logs", ({ req, env, var: { access } }) => {
	const query = new URLSearchParams();
	for (const name of ["instance", "follow"]) {
		const value = req.query(name);
		if (value !== undefined) query.set(name, value);
	}
	if (!access.operator) query.set("tenant", tenantOf(access));
	return bridge(env, `/logs?${query}`);
});

/** The tenants that are likely to invoke something: those with functions. */
function expected(): string[] {
	const names = tenants.all().map(({ name }) => name);
	const deployed = names.filter((name) => functions.of(name).length > 0);
	return (deployed.length > 0 ? deployed : names).slice(0, READY_TENANTS);
}

async function bridge(env: HostEnv["Bindings"], path: string): Promise<Response> {
	try {
		return await env.BRIDGE.fetch(`http://bridge${path}`);
	} catch (error) {
		throw new HeadstartError(
			"bridgeLost",
			`the bridge does not answer: ${HeadstartError.from(error).message}`,
		);
	}
}
