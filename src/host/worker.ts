/** The host: the entry point that `wrangler dev` and a node's workerd run. */
import type { Env } from "../shared/env.ts";
import { app } from "./app.ts";

export { Log } from "../durable/log.ts";
export { Registry } from "../durable/registry.ts";
export { Transcript } from "../durable/transcript.ts";

export default { fetch: app.fetch } satisfies ExportedHandler<Env>;
