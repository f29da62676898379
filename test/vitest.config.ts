import { defineConfig } from "vitest/config";
import type { HostKind } from "./harness/node.ts";

declare module "vitest" {
	export interface ProvidedContext {
		host: HostKind;
	}
}

/** The end-to-end suite, once against `headstart node` and once against `wrangler dev`. Files run one after the other. */
export default defineConfig({
	test: {
		fileParallelism: false,
		projects: (["workerd", "wrangler"] as const).map((host) => ({
			test: {
				name: host,
				root: import.meta.dirname,
				include: ["e2e/**/*.test.ts"],
				provide: { host },
				fileParallelism: false,
				sequence: { groupOrder: host === "workerd" ? 1 : 2 },
				testTimeout: 60_000,
				hookTimeout: 90_000,
			},
		})),
	},
});
