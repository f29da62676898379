import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { parse } from "smol-toml";
import { expect, test } from "vitest";
import { inRoot, workerd } from "../paths.ts";
import { COMPATIBILITY_DATE, COMPATIBILITY_FLAGS, hostConfig } from "./config.ts";

const config = hostConfig({
	listen: "127.0.0.1:8787",
	bridgeSocket: '/run/a "b"\\/bridge.sock',
	relaySockets: ["/run/relay-0.sock", "/run/relay-1.sock"],
	objects: "/state/objects",
	bundle: "worker.js",
	access: { kind: "tokens", operatorTokenHash: "00ff" },
	recordInputs: false,
});

test("workerd takes the configuration", async () => {
	const folder = await mkdtemp(join(tmpdir(), "hs-config-"));
	try {
		await writeFile(join(folder, "host.capnp"), config);
		await writeFile(join(folder, "worker.js"), "export default {};");
		const compile = ["compile", "--config-only", join(folder, "host.capnp")];
		const { stdout } = await promisify(execFile)(workerd, compile, { encoding: "buffer" });
		expect(stdout.includes("00ff")).toBe(true);
		expect(stdout.includes("unix:/run/relay-1.sock") && stdout.includes("RUNNER_1")).toBe(true);
		expect(stdout.includes('unix:/run/a "b"\\/bridge.sock')).toBe(true);
	} finally {
		await rm(folder, { recursive: true });
	}
});

test("wrangler.toml says the same", async () => {
	const wrangler = parse(await readFile(inRoot("wrangler.toml"), "utf8"));
	expect(wrangler.compatibility_date).toBe(COMPATIBILITY_DATE);
	expect(wrangler.compatibility_flags).toEqual(COMPATIBILITY_FLAGS);
	expect(wrangler.durable_objects).toEqual({
		bindings: [...config.matchAll(/name = "(\w+)", durableObjectNamespace = "(\w+)"/g)].map(
			([, name, class_name]) => ({ name, class_name }),
		),
	});
});
