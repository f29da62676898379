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

let asked = false;

/** Whether this is the first request to this life of the host: the others have nothing to do with the life before. */
function firstOfThisLife(): boolean {
	const first = !asked;
	asked = true;
	return first;
}

export default {
	async fetch(request, env, ctx): Promise<Response> {
		if (firstOfThisLife()) ctx.waitUntil(noteOrphans(env));
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
