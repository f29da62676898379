import { Hono } from "hono";
import { HeadstartError } from "../shared/error.ts";
import { errorResponse } from "../shared/error-response.ts";
import type { HostEnv } from "./env.ts";
import { guard } from "./guard.ts";
import { bundles } from "./routes/bundles.ts";
import { functionRoutes } from "./routes/functions.ts";
import { instances } from "./routes/instances.ts";
import { invocations } from "./routes/invocations.ts";
import { node } from "./routes/node.ts";

/** The HTTP API (docs/api.md). */
export const app = new Hono<HostEnv>();

app.use(guard);
app.route("/v1/functions", invocations);
app.route("/v1/functions", functionRoutes);
app.route("/v1/bundles", bundles);
app.route("/v1/instances", instances);
app.route("/", node);

app.notFound(({ req }) =>
	errorResponse(
		new HeadstartError("notFound", `there is no ${req.method} ${req.path}`, { hint: "See docs/api.md." }),
	),
);
app.onError((error) => {
	const ours = HeadstartError.from(error);
	if (ours.code === "internal") console.error(error);
	return errorResponse(ours);
});
