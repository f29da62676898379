import { tmpdir } from "node:os";
import { join } from "node:path";
import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";
import { socketPath } from "./src/bridge/interop/bridge.setup.ts";

/** Code that runs in workerd is tested in workerd; `*.node.test.ts` beside it and all the rest in Node. */
const inWorkerd = "src/{bridge,durable,host,isolates,shared}/**/*.test.ts";
const inNode = "**/*.node.test.ts";
/** Tests in workerd that talk to a real bridge. */
const withBridge = "src/bridge/interop/**/*.test.ts";
const never = "**/node_modules/**";

/** The interop bridge's own folder; its path is short, because a socket's has at most 107 bytes. */
const directory = join(tmpdir(), `hs-interop-${process.pid}`);
process.env.HEADSTART_INTEROP = directory;

/** At most what the workerd of the vitest plugin supports. */
const miniflare = { compatibilityDate: "2026-11-01", compatibilityFlags: ["nodejs_compat"] };
const durableObjects = {
	REGISTRY: { className: "Registry", useSQLite: true },
	LOG: { className: "Log", useSQLite: true },
	SERVICES: { className: "Services", useSQLite: true },
};
const bridge = { external: { address: `unix:${socketPath(directory)}`, http: {} } };

export default defineConfig({
	test: {
		projects: [
			{
				plugins: [
					cloudflareTest({
						main: "src/host/worker.ts",
						miniflare: { ...miniflare, durableObjects, bindings: { DEVELOPMENT: "1" } },
					}),
				],
				test: { name: "workerd", include: [inWorkerd], exclude: [inNode, withBridge, never] },
			},
			{
				plugins: [cloudflareTest({ miniflare: { ...miniflare, serviceBindings: { BRIDGE: bridge } } })],
				test: {
					name: "bridge",
					include: [withBridge],
					exclude: [never],
					globalSetup: ["src/bridge/interop/bridge.setup.ts"],
					// They share the bridge, whose counts are checked.
					fileParallelism: false,
					testTimeout: 20_000,
				},
			},
			{
				test: {
					name: "node",
					include: [inNode, "{src/cli,setup,schema,bench,proof,clients/node}/**/*.test.ts"],
					exclude: [never],
					testTimeout: 20_000,
				},
			},
		],
	},
});
