import type { Env } from "../shared/env.ts";
import type { Access } from "./access.ts";

/** For hono: what a request's context holds. */
export interface HostEnv {
	Bindings: Env;
	Variables: {
		/** Of the API's requests, those under /v1. */
		access: Access;
	};
}
