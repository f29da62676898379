import { Hono } from "hono";
import { refill } from "../../durable/spares.ts";
import { HeadstartError } from "../../shared/error.ts";
import type { HostEnv } from "../env.ts";
import { warmUp } from "../warm-up.ts";

/** The node itself: health, metrics, logs. */
export const node = new Hono<HostEnv>();

/** Healthy when the bridge answers and spares are ready: whoever waits for it finds fast starts. */
node.get("/healthz", async ({ env, json }) => {
	const health = await bridge(env, "/healthz");
	const body = (await health.json()) as { status: string };
	if (body.status === "ok") await Promise.all([warmUp(env), refill(env)]);
	return json(body, health.ok ? 200 : 503);
});

node.get("/metrics", ({ env }) => bridge(env, "/metrics"));

node.get("/v1/logs", ({ req, env }) => bridge(env, `/logs${new URL(req.url).search}`));

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
