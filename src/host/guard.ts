import type { MiddlewareHandler } from "hono";
import { HeadstartError } from "../shared/error.ts";
import type { HostEnv } from "./env.ts";

const LOOPBACK = /^(?:127(?:\.\d{1,3}){3}|localhost|\[::1\])(?::\d{1,5})?$/i;

/**
 * Answers programs on this machine only. The socket is on loopback; a web page in a browser here could still reach it, by
 * its own requests (they have an Origin) or by a name that resolves to loopback (then Host is that name).
 */
export const guard: MiddlewareHandler<HostEnv> = ({ req }, next) => {
	const { headers } = req.raw;
	const host = headers.get("host") ?? new URL(req.url).host;
	if (!LOOPBACK.test(host)) throw new HeadstartError("forbiddenOrigin", `the request is for ${host}`);
	const origin = headers.get("origin");
	if (origin !== null && origin !== `http://${host}`) {
		throw new HeadstartError("forbiddenOrigin", `the request comes from a page of ${origin}`);
	}
	return next();
};
