/**
 * What an earlier life of the host left at the bridge. A start is noted in the log only when it is over; one that was cut off
 * before that is noted here, from what the bridge still keeps of it, so that it reads `interrupted`.
 */
import * as v from "valibot";
import type { Env } from "../shared/env.ts";
import type { InstanceSummary } from "../shared/record.ts";

/** The life that it belonged to: none that is, or will be. */
const EARLIER = "earlier";

const orphan = v.object({
	id: v.string(),
	tenant: v.string(),
	function: v.string(),
	digest: v.string(),
	mode: v.string(),
	startedAt: v.number(),
	leased: v.literal(false),
	invocations: v.number(),
});
const inventory = v.object({ now: v.number(), instances: v.array(v.unknown()) });

let noted: Promise<void> | undefined;

/** Once in a host's life. Never rejects: without the bridge there is nothing to be noted. */
export function noteOrphans(env: Env): Promise<void> {
	noted ??= note(env).catch((error: unknown) => {
		console.error("what an earlier life left could not be noted", error);
	});
	return noted;
}

async function note(env: Env): Promise<void> {
	const asked = Date.now();
	const answer = await env.BRIDGE.fetch("http://bridge/inventory");
	const { now, instances } = v.parse(inventory, await answer.json());
	const log = env.LOG.getByName("log");
	for (const instance of instances) {
		const parsed = v.safeParse(orphan, instance);
		// A spare has no function, and one with a lease is this life's.
		if (!parsed.success) continue;
		const { id, tenant, function: name, digest, mode, startedAt, invocations } = parsed.output;
		const summary: InstanceSummary = {
			id,
			function: name,
			digest,
			mode,
			state: "running",
			startedAt: asked - Math.round((now - startedAt) / 1e6),
			invocations,
		};
		await log.begin(EARLIER, tenant, summary);
	}
}
