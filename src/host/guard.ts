import type { MiddlewareHandler } from "hono";
import { HeadstartError } from "../shared/error.ts";
import { accessOf } from "./access.ts";
import type { HostEnv } from "./env.ts";

const LOOPBACK = /^(?:127(?:\.\d{1,3}){3}|localhost|\[::1\])(?::\d{1,5})?$/i;

/**
 * Throws `forbiddenOrigin` unless the request comes from a program on this machine. The socket is on loopback; a web page in a
 * browser here could still reach it, by its own requests (they have an Origin) or by a name that resolves to loopback (then
 * Host is that name).
 */
export function checkCaller({ headers, url }: Request): void {
	const host = headers.get("host") ?? new URL(url).host;
	if (!LOOPBACK.test(host)) throw new HeadstartError("forbiddenOrigin", `the request is for ${host}`);
	const origin = headers.get("origin");
	if (origin !== null && origin !== `http://${host}`) {
		throw new HeadstartError("forbiddenOrigin", `the request comes from a page of ${origin}`);
	}
}

export const guard: MiddlewareHandler<HostEnv> = ({ req }, next) => {
	checkCaller(req.raw);
	return next();
};

/** Finds out who asks. Without a token that is valid nobody is told anything. */
export const authenticate: MiddlewareHandler<HostEnv> = async ({ env, req, set }, next) => {
	const access = accessOf(env, req.raw);
	set("access", access instanceof Promise ? await access : access);
	return next();
};
