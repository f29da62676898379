import { join } from "node:path";
import { type Access, accessBindings } from "../node/access.ts";
import { type Sink, Supervised } from "../node/child.ts";
import { root, wrangler } from "../paths.ts";

/** The host in `wrangler dev`, in place of plain workerd: it reloads when its sources change. */
export function wranglerHost(
	{ port, run, state, access }: { port: number; run: string; state: string; access: Access },
	sink: Sink,
): Supervised {
	const options = ["--port", String(port), "--inspector-port", "0", "--persist-to", join(state, "wrangler")];
	for (const [name, value] of Object.entries(accessBindings(access)))
		options.push("--var", `${name}:${value}`);
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
