import { Hono } from "hono";
import { bridgeError } from "../../bridge/http-error.ts";
import { HeadstartError } from "../../shared/error.ts";
import type { HostEnv } from "../env.ts";

/** `/v1/bundles/:hex`: an application's files as a tar, by SHA-256; streamed through to the bridge. */
export const bundles = new Hono<HostEnv>();

// hono answers HEAD through GET.
bundles.get("/:hex", ({ req, env }) => {
	if (req.raw.method !== "HEAD")
		throw new HeadstartError("notFound", "files of applications are not given out");
	const url = bundleUrl(req.param("hex"));
	return env.BRIDGE.fetch(url, { method: "HEAD" });
});

bundles.put("/:hex", async ({ req, env }) => {
	const url = bundleUrl(req.param("hex"));
	const answer = await env.BRIDGE.fetch(url, {
		method: "PUT",
		body: req.raw.body,
		headers: lengthOf(req.raw),
	});
	if (answer.ok) return new Response(null, { status: answer.status });
	throw await bridgeError(answer);
});

function bundleUrl(hex: string): string {
	if (!/^[0-9a-f]{64}$/.test(hex)) {
		throw new HeadstartError("invalidArgument", "a bundle is named by 64 lower-case hex digits: its SHA-256");
	}
	return `http://bridge/bundles/${hex}`;
}

function lengthOf(request: Request): Record<string, string> {
	const length = request.headers.get("content-length");
	return length === null ? {} : { "content-length": length };
}
