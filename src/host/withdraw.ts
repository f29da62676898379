import { Bridge } from "../bridge/bridge.ts";
import { retire } from "../durable/spares.ts";
import type { Env } from "../shared/env.ts";

/** Ends the idle instances of a version that is deployed no more, and has the bridge forget it, with its snapshot. */
export async function withdraw(env: Env, digest: string, reason: string): Promise<void> {
	await retire(env, digest, reason);
	const bridge = Bridge.connect(env.BRIDGE);
	try {
		await bridge.dropFunction(digest);
	} finally {
		bridge[Symbol.dispose]();
	}
}
