import { defineConfig } from "vitest/config";
import type { HostKind } from "./harness/node.ts";

declare module "vitest" {
	export interface ProvidedContext {
		host: HostKind;
	}
}

/**
 * What tests the parts below the host: bridge, sandboxes, clients and stacks are the same programs under both hosts, so that these
 * run once, against `headstart node`. What the host does runs against both.
 */
const belowTheHost = [
	"clients",
	"compromised",
	"connections",
	"crash-in-transfer",
	"images",
	"imgrec-wasm",
	"isolate",
	"imgrec-py",
	"native-apps",
	"preload",
	"reservation",
	"runners",
	"sebs",
	"secrets",
	"snapshot",
	"stacks",
	"wasm",
].map((name) => `e2e/${name}.test.ts`);

/** The end-to-end suite, against `headstart node` and against `wrangler dev`. Files run one after the other. */
export default defineConfig({
	test: {
		fileParallelism: false,
		projects: (["workerd", "wrangler"] as const).map((host) => ({
			test: {
				name: host,
				root: import.meta.dirname,
				include: ["e2e/**/*.test.ts"],
				exclude: host === "wrangler" ? belowTheHost : [],
				provide: { host },
				fileParallelism: false,
				sequence: { groupOrder: host === "workerd" ? 1 : 2 },
				testTimeout: 60_000,
				hookTimeout: 90_000,
			},
		})),
	},
});
