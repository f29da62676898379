import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";

/** Code that runs in workerd is tested in workerd; `*.node.test.ts` beside it and all the rest in Node. */
const inWorkerd = "src/{bridge,durable,host,isolates,shared}/**/*.test.ts";
const inNode = "**/*.node.test.ts";

export default defineConfig({
	test: {
		projects: [
			{
				plugins: [
					cloudflareTest({
						miniflare: { compatibilityDate: "2026-11-01", compatibilityFlags: ["nodejs_compat"] },
					}),
				],
				test: { name: "workerd", include: [inWorkerd], exclude: [inNode, "**/node_modules/**"] },
			},
			{
				test: {
					name: "node",
					include: [inNode, "{src/cli,setup,schema,bench,test}/**/*.test.ts"],
					exclude: ["**/node_modules/**", "test/e2e/**"],
					testTimeout: 20_000,
				},
			},
		],
	},
});
