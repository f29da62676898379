import { env } from "cloudflare:workers";
import { expect, test } from "vitest";
import type { DeployedFunction } from "../shared/function.ts";
import { parseManifest } from "../shared/manifest.ts";
import type { Registry } from "./registry.ts";

const { REGISTRY } = env as unknown as { REGISTRY: DurableObjectNamespace<Registry> };

function deployed(name: string, script?: DeployedFunction["script"]): DeployedFunction {
	const manifest = parseManifest({
		name,
		app: { command: ["true"] },
		...(script && { initscript: { main: "a.c" } }),
	});
	return {
		digest: `digest of ${name}`,
		manifest,
		bundle: "sha256:00",
		deployedAt: 1,
		...(script && { script }),
	};
}

test("a function comes back as it was put, its initscript in pieces or not", async () => {
	const registry = REGISTRY.getByName("put");
	const bytes = crypto.getRandomValues(new Uint8Array(60_000));
	const large = new Uint8Array(2_500_000);
	for (let at = 0; at < large.length; at += bytes.length) large.set(bytes.subarray(0, large.length - at), at);
	const wasm = deployed("wasm", { module: { digest: "w", format: "wasm", bytes: large } });
	const js = deployed("js", {
		module: { digest: "j", format: "js", source: "export default 'grüß'" },
		sourceMap: "{}",
	});
	for (const it of [wasm, js, deployed("plain")]) await registry.put(it);
	expect(await registry.get("wasm")).toEqual(wasm);
	expect(await registry.list()).toEqual([js, deployed("plain"), wasm]);
	expect(await registry.get("nobody")).toBeUndefined();
});

test("another version takes the place of the first; what nobody has any more goes", async () => {
	const registry = REGISTRY.getByName("replace");
	const script = (digest: string): DeployedFunction["script"] => ({
		module: { digest, format: "wasm", bytes: Uint8Array.of(1) },
	});
	await registry.put(deployed("a", script("old")));
	await registry.put(deployed("a", script("new")));
	expect((await registry.get("a"))?.script?.module.digest).toBe("new");
	expect(await registry.delete("a")).toBe(true);
	expect(await registry.delete("a")).toBe(false);
	expect(await registry.list()).toEqual([]);
});
