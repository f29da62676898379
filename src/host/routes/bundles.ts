import { Hono } from "hono";
import { HeadstartError } from "../../shared/error.ts";
import { tenantOf } from "../access.ts";
import { headBundle, putBundle } from "../bundles.ts";
import type { HostEnv } from "../env.ts";
import { Gate } from "../gate.ts";

/** Each takes its archive's and its files' room on the disk while it comes. */
const gate = new Gate("uploads", { most: 32, mostOfTenant: 4, waiting: 32, waitMs: 60_000 });

/** `/v1/bundles/:hex`: an application's files as a tar, by SHA-256; streamed through to the bridge. */
export const bundles = new Hono<HostEnv>();

// hono answers HEAD through GET.
bundles.get("/:hex", ({ req, env, var: { access } }) => {
	if (req.raw.method !== "HEAD")
		throw new HeadstartError("notFound", "files of applications are not given out");
	return headBundle(env, tenantOf(access), checkedHex(req.param("hex")));
});

bundles.put("/:hex", ({ req, env, var: { access } }) => {
	const tenant = tenantOf(access);
	const hex = checkedHex(req.param("hex"));
	return gate.through(tenant, () => putBundle(env, tenant, hex, req.raw));
});

function checkedHex(hex: string): string {
	if (/^[0-9a-f]{64}$/.test(hex)) return hex;
	throw new HeadstartError("invalidArgument", "a bundle is named by 64 lower-case hex digits: its SHA-256");
}
