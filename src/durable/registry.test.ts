/// <reference types="@cloudflare/vitest-plugin/types" />
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect, test } from "vitest";
import type { DeployedFunction } from "../shared/function.ts";
import { parseManifest } from "../shared/manifest.ts";
import { MAX_FUNCTIONS, Registry } from "./registry.ts";
import type { KnownTenant } from "./tenants.ts";

const { REGISTRY } = env as unknown as { REGISTRY: DurableObjectNamespace<Registry> };

function deployed(name: string, script?: DeployedFunction["script"]): DeployedFunction {
	const manifest = parseManifest({
		name,
		app: { command: ["true"] },
		...(script && { initscript: { main: "a.c" } }),
	});
	return {
		tenant: "t",
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
	expect(await registry.get("t", "wasm")).toEqual(wasm);
	expect(await registry.list("t")).toEqual([js, deployed("plain"), wasm]);
	expect(await registry.get("t", "nobody")).toBeUndefined();
});

test("another version takes the place of the first; what nobody has any more goes", async () => {
	const registry = REGISTRY.getByName("replace");
	const script = (digest: string): DeployedFunction["script"] => ({
		module: { digest, format: "wasm", bytes: Uint8Array.of(1) },
	});
	await registry.put(deployed("a", script("old")));
	await registry.put(deployed("a", script("new")));
	expect((await registry.get("t", "a"))?.script?.module.digest).toBe("new");
	expect(await registry.delete("t", "a")).toBe(true);
	expect(await registry.delete("t", "a")).toBe(false);
	expect(await registry.list("t")).toEqual([]);
});

test("a tenant has so many functions and no more; another version of one is none more", async () => {
	const registry = REGISTRY.getByName("full");
	for (let n = 0; n < MAX_FUNCTIONS; n++) expect(await registry.put(deployed(`f${n}`))).toBe(true);
	expect(await registry.put(deployed("more"))).toBe(false);
	expect(await registry.put(deployed("f0"))).toBe(true);
	expect(await registry.put({ ...deployed("more"), tenant: "u" })).toBe(true);
	expect(await registry.list("t")).toHaveLength(MAX_FUNCTIONS);
});

test("what one tenant has, another has not; a removed tenant has nothing", async () => {
	const registry = REGISTRY.getByName("tenants");
	const tenant = (name: string): KnownTenant => ({
		name,
		quota: { instances: 2 },
		createdAt: 5,
		tokenHash: Uint8Array.of(1, 2),
	});
	for (const name of ["t", "u"]) await registry.putTenant(tenant(name));
	await registry.put(deployed("a"));
	await registry.putBundle("t", "00");
	expect(await registry.tenants()).toEqual([tenant("t"), tenant("u")]);
	expect(await registry.get("u", "a")).toBeUndefined();
	expect(await registry.list("u")).toEqual([]);
	expect(await registry.delete("u", "a")).toBe(false);
	expect([await registry.hasBundle("t", "00"), await registry.hasBundle("u", "00")]).toEqual([true, false]);
	expect(await registry.list()).toHaveLength(1);
	await registry.deleteTenant("t");
	expect(await registry.tenants()).toEqual([tenant("u")]);
	expect(await registry.list()).toEqual([]);
	expect(await registry.hasBundle("t", "00")).toBe(false);
});

test("what was deployed before there were tenants is the default tenant's", async () => {
	const registry = REGISTRY.getByName("adopted");
	await runInDurableObject(registry, async (_, state) => {
		state.storage.sql.exec(
			"CREATE TABLE functions (name TEXT PRIMARY KEY, body TEXT NOT NULL, module TEXT, format TEXT) WITHOUT ROWID",
		);
		const { tenant: _tenant, ...old } = deployed("a");
		state.storage.sql.exec("INSERT INTO functions VALUES ('a', ?, NULL, NULL)", JSON.stringify(old));
		const next = new Registry(state, {});
		expect(next.list()).toEqual([{ ...deployed("a"), tenant: "default" }]);
		expect(next.hasBundle("default", "00")).toBe(true);
		expect(new Registry(state, {}).list()).toHaveLength(1);
	});
});
