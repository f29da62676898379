import { Hono } from "hono";
import { bridgeError } from "../../bridge/http-error.ts";
import { HeadstartError } from "../../shared/error.ts";
import { tenantOf } from "../access.ts";
import { bundleUrl, headBundle } from "../bundles.ts";
import type { HostEnv } from "../env.ts";
import { registry } from "../functions.ts";

/** `/v1/bundles/:hex`: an application's files as a tar, by SHA-256; streamed through to the bridge. */
export const bundles = new Hono<HostEnv>();

// hono answers HEAD through GET.
bundles.get("/:hex", ({ req, env, var: { access } }) => {
	if (req.raw.method !== "HEAD")
		throw new HeadstartError("notFound", "files of applications are not given out");
	return headBundle(env, tenantOf(access), checkedHex(req.param("hex")));
});

bundles.put("/:hex", async ({ req, env, var: { access } }) => {
	const tenant = tenantOf(access);
	const hex = checkedHex(req.param("hex"));
	const answer = await env.BRIDGE.fetch(bundleUrl(hex), {
		method: "PUT",
		body: req.raw.body,
		headers: lengthOf(req.raw),
	});
	if (!answer.ok) throw await bridgeError(answer);
	await registry(env).putBundle(tenant, hex);
	return new Response(null, { status: answer.status });
});

function checkedHex(hex: string): string {
	if (/^[0-9a-f]{64}$/.test(hex)) return hex;
	throw new HeadstartError("invalidArgument", "a bundle is named by 64 lower-case hex digits: its SHA-256");
}

function lengthOf(request: Request): Record<string, string> {
	const length = request.headers.get("content-length");
	return length === null ? {} : { "content-length": length };
}
