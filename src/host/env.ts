import type { Env } from "../shared/env.ts";

/** For hono: what a request's context holds. */
export interface HostEnv {
	Bindings: Env;
}
