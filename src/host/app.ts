import { Hono } from "hono";
import { HeadstartError } from "../shared/error.ts";
import { errorResponse } from "../shared/error-response.ts";
import type { HostEnv } from "./env.ts";
import { authenticate, guard } from "./guard.ts";
import { bundles } from "./routes/bundles.ts";
import { functionRoutes } from "./routes/functions.ts";
import { instances } from "./routes/instances.ts";
import { node } from "./routes/node.ts";
import { secrets } from "./routes/secrets.ts";
import { serviceRoutes } from "./routes/services.ts";
import { tenantRoutes } from "./routes/tenants.ts";

/** The HTTP API (docs/api.md) but for invocations, which worker.ts sees first. */
export const app = new Hono<HostEnv>();

app.use(guard);
app.use("/v1/*", authenticate);
app.route("/v1/functions", functionRoutes);
app.route("/v1/services", serviceRoutes);
app.route("/v1/bundles", bundles);
app.route("/v1/instances", instances);
app.route("/v1/secrets", secrets);
app.route("/v1/tenants", tenantRoutes);
app.route("/", node);

app.notFound(({ req }) =>
	errorResponse(
		new HeadstartError("notFound", `there is no ${req.method} ${req.path}`, { hint: "See docs/api.md." }),
	),
);
app.onError(failed);

/** The answer to a request that failed. */
export function failed(thrown: unknown): Response {
	const ours = isAbort(thrown)
		? new HeadstartError("cancelled", "the caller went away")
		: HeadstartError.from(thrown);
	if (ours.code === "internal") console.error(thrown);
	return errorResponse(ours);
}

/** What is under way for a caller who goes away is cut off: nobody hears the answer. */
function isAbort(thrown: unknown): boolean {
	return thrown instanceof Error && thrown.name === "AbortError";
}
