import { join } from "node:path";
import { accessBindings } from "../node/access.ts";
import { type Sink, Supervised } from "../node/child.ts";
import { recordBindings } from "../node/config.ts";
import type { HostSettings } from "../node/node.ts";
import { root, wrangler } from "../paths.ts";

/** The host in `wrangler dev`, in place of plain workerd: it reloads when its sources change. */
export function wranglerHost(
	{ port, run, state, access, recordInputs }: HostSettings,
	sink: Sink,
): Supervised {
	const options = ["--port", String(port), "--inspector-port", "0", "--persist-to", join(state, "wrangler")];
	const bindings = { ...accessBindings(access), ...recordBindings(recordInputs) };
	for (const [name, value] of Object.entries(bindings)) options.push("--var", `${name}:${value}`);
	return new Supervised(
		{
			name: "wrangler",
			command: process.execPath,
			args: ["--no-warnings", wrangler, "dev", ...options, "--show-interactive-dev-session=false"],
			options: {
				cwd: root,
				env: {
					...process.env,
					HEADSTART_RUN: run,
					WRANGLER_SEND_METRICS: "false",
					CLOUDFLARE_CF_FETCH_ENABLED: "false",
					CI: "1",
				},
			},
		},
		sink,
	);
}
