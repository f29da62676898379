import type { Env } from "../shared/env.ts";
import { registry } from "./functions.ts";

/**
 * Asks for an application's files by their SHA-256 in hex: 200 or 404. The node keeps the files of all tenants together, but a
 * tenant has only what it has sent itself.
 */
export async function headBundle(env: Env, tenant: string, hex: string): Promise<Response> {
	if (!(await registry(env).hasBundle(tenant, hex))) return new Response(null, { status: 404 });
	return env.BRIDGE.fetch(bundleUrl(hex), { method: "HEAD" });
}

/** Where the bridge takes and has them. */
export function bundleUrl(hex: string): string {
	return `http://bridge/bundles/${hex}`;
}
