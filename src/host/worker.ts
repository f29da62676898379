/** The host: the entry point that `wrangler dev` and a node's workerd run. */
import { noteOrphans } from "../durable/orphans.ts";
import type { Env } from "../shared/env.ts";
import { accessOf, tenantOf } from "./access.ts";
import { app, failed } from "./app.ts";
import { checkCaller } from "./guard.ts";
import { invocationOf, invokeFunction } from "./invocations.ts";

export { Log } from "../durable/log.ts";
export { Registry } from "../durable/registry.ts";
export { Services } from "../durable/services.ts";
export { Transcript } from "../durable/transcript.ts";

export default {
	async fetch(request, env, ctx): Promise<Response> {
		ctx.waitUntil(noteOrphans(env));
		// A cold start waits for this: it needs no router.
		const wanted = invocationOf(request);
		if (wanted === undefined) return app.fetch(request, env, ctx);
		try {
			checkCaller(request);
			const access = accessOf(env, request);
			const tenant = tenantOf(access instanceof Promise ? await access : access);
			return await invokeFunction(request, env, ctx, tenant, wanted);
		} catch (thrown) {
			return failed(thrown);
		}
	},
} satisfies ExportedHandler<Env>;
