import type { HeadstartError } from "./error.ts";

/** The answer that tells an error: its status, and `{code, message, hint}`. */
export function errorResponse(error: HeadstartError, instance?: string): Response {
	const headers = {
		...(instance === undefined ? {} : { "x-headstart-instance": instance }),
		...(error.code === "unauthorized" ? { "www-authenticate": "Bearer" } : {}),
	};
	return Response.json(error.body(), { status: error.status, headers });
}
