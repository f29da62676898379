import type { HeadstartError } from "./error.ts";

/** Seconds after which what is refused for now may be tried again. */
const RETRY_AFTER = "1";

/** The answer that tells an error: its status, and `{code, message, hint}`. */
export function errorResponse(error: HeadstartError, instance?: string): Response {
	const headers = {
		...(error.status === 429 || error.status === 503 ? { "retry-after": RETRY_AFTER } : {}),
		...(instance === undefined ? {} : { "x-headstart-instance": instance }),
		...(error.code === "unauthorized" ? { "www-authenticate": "Bearer" } : {}),
	};
	return Response.json(error.body(), { status: error.status, headers });
}
