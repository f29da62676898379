import { join } from "node:path";
import { command } from "../command.ts";
import { root, Stamp } from "../stamp.ts";
import type { Step } from "../step.ts";

const generated = new Stamp(
	"generated",
	["schema"],
	[
		"src/shared/generated/errors.ts",
		"src/isolates/generated",
		"src/bridge/generated",
		"clients/python/headstart/_generated.py",
	],
);

/** Code made from the schemas. */
export const generate: Step = {
	name: "generated code",
	cost: { downloadMb: 0, diskMb: 1, minutes: 0.1 },
	done: () => generated.fresh(),
	async run() {
		await command(this.name, process.execPath, ["schema/codegen/main.ts"]);
		await generated.set();
	},
};

const runnerStamp = new Stamp(
	"runner",
	["src/isolates", "src/shared", "schema", "package-lock.json"],
	["dist/runner/config.capnp", "dist/runner/runner.js"],
);

/** What a runner's workerd loads. */
export const runner: Step = {
	name: "runner",
	cost: { downloadMb: 0, diskMb: 1, minutes: 0.1 },
	done: () => runnerStamp.fresh(),
	async run() {
		const { buildRunner } = await import("../../src/isolates/build.ts");
		await buildRunner(join(root, "dist/runner"));
		await runnerStamp.set();
	},
};

const hostStamp = new Stamp(
	"host",
	[
		"src/host",
		"src/durable",
		"src/bridge",
		"src/shared",
		"src/isolates/protocol.ts",
		"schema",
		"package-lock.json",
	],
	["dist/host/worker.js"],
);

/** What a self-hosted node's workerd loads as the host. */
export const host: Step = {
	name: "host",
	cost: { downloadMb: 0, diskMb: 1, minutes: 0.1 },
	done: () => hostStamp.fresh(),
	async run() {
		const { build } = await import("esbuild");
		await build({
			absWorkingDir: root,
			entryPoints: ["src/host/worker.ts"],
			outfile: "dist/host/worker.js",
			bundle: true,
			format: "esm",
			target: "es2024",
			platform: "neutral",
			mainFields: ["module", "main"],
			conditions: ["workerd", "worker", "browser"],
			external: ["cloudflare:*", "node:*"],
			sourcemap: "inline",
			logLevel: "error",
		});
		await hostStamp.set();
	},
};
