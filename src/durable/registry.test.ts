/// <reference types="@cloudflare/vitest-plugin/types" />
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect, test } from "vitest";
import type { DeployedFunction } from "../shared/function.ts";
import { parseManifest } from "../shared/manifest.ts";
import { type FunctionPage, type ListedFunction, MAX_FUNCTIONS, Registry } from "./registry.ts";
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

async function listed(
	registry: DurableObjectStub<Registry>,
	tenant: string | undefined = "t",
): Promise<ListedFunction[]> {
	const { functions, more } = (await registry.list(tenant)) as FunctionPage;
	expect(more).toBe(false);
	return functions;
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
	const artifact = { reference: "r.test/a@sha256:1", digest: "sha256:p", bytes: 3, format: "wasm" } as const;
	const pulled = deployed("pulled", {
		module: { digest: "p", format: "wasm", bytes: new Uint8Array(3), plain: true },
		artifact,
	});
	const metered = deployed("metered", {
		module: { digest: "m", format: "wasm", bytes: new Uint8Array(3) },
		artifact: { ...artifact, digest: "sha256:m", metered: true },
	});
	for (const it of [wasm, js, pulled, metered, deployed("plain")]) await registry.put(it);
	expect(await registry.get("t", "metered")).toEqual(metered);
	expect(await registry.get("t", "pulled")).toEqual(pulled);
	expect(await registry.get("t", "wasm")).toEqual(wasm);
	const { sourceMap: _, ...script } = js.script ?? {};
	expect(await registry.get("t", "js")).toEqual({ ...js, script });
	expect(await registry.sourceMap("t", "js", "j")).toBe("{}");
	expect(await registry.sourceMap("t", "js", "another version")).toBeUndefined();
	expect((await listed(registry)).map(({ name, initscript }) => [name, initscript])).toEqual([
		["js", { digest: "j", format: "js", bytes: 23 }],
		["metered", { digest: "m", format: "wasm", bytes: 3, artifact: artifact.reference }],
		["plain", undefined],
		["pulled", { digest: "p", format: "wasm", bytes: 3, artifact: artifact.reference }],
		["wasm", { digest: "w", format: "wasm", bytes: 2_500_000 }],
	]);
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
	expect(await listed(registry)).toEqual([]);
});

test("a tenant has so many functions and no more; another version of one is none more", async () => {
	const registry = REGISTRY.getByName("full");
	for (let n = 0; n < MAX_FUNCTIONS; n++) expect(await registry.put(deployed(`f${n}`))).toBe(true);
	expect(await registry.put(deployed("more"))).toBe(false);
	expect(await registry.put(deployed("f0"))).toBe(true);
	expect(await registry.put({ ...deployed("more"), tenant: "u" })).toBe(true);
	expect(await listed(registry)).toHaveLength(MAX_FUNCTIONS);
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
	await registry.putBundle("t", "00", 5, { tenant: 5, node: 5 });
	expect(await registry.tenants()).toEqual([tenant("t"), tenant("u")]);
	expect(await registry.get("u", "a")).toBeUndefined();
	expect(await listed(registry, "u")).toEqual([]);
	expect(await registry.delete("u", "a")).toBe(false);
	expect([await registry.hasBundle("t", "00"), await registry.hasBundle("u", "00")]).toEqual([true, false]);
	expect(await listed(registry, undefined)).toHaveLength(1);
	await registry.deleteTenant("t");
	expect(await registry.tenants()).toEqual([tenant("u")]);
	expect(await listed(registry, undefined)).toEqual([]);
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
		expect(next.get("default", "a")).toEqual({ ...deployed("a"), tenant: "default" });
		expect(next.hasBundle("default", "00")).toBe(true);
		expect(new Registry(state, {}).list().functions).toHaveLength(1);
	});
});

test("a list comes in pages that an RPC can carry, without the bytes of initscripts", async () => {
	const registry = REGISTRY.getByName("pages");
	const source = "x".repeat(1 << 20);
	const sourceMap = "m".repeat(4 << 20);
	const env = { NOTE: "e".repeat(60_000) };
	for (let n = 0; n < 100; n++) {
		const it = deployed(
			`f${n}`,
			n < 10 ? { module: { digest: "d", format: "js", source }, sourceMap } : undefined,
		);
		await registry.put({ ...it, manifest: { ...it.manifest, app: { ...it.manifest.app, env } } });
	}
	const names: string[] = [];
	let pages = 0;
	let after: { tenant: string; name: string } | undefined;
	for (let more = true; more; pages++) {
		const page = (await registry.list("t", after)) as FunctionPage;
		expect(JSON.stringify(page).length).toBeLessThan(5 << 20);
		names.push(...page.functions.map(({ name }) => name));
		after = page.functions.at(-1);
		more = page.more;
	}
	expect(pages).toBe(2);
	expect(new Set(names).size).toBe(100);
});

test("a source map is a tenant's own, whoever else has deployed the same initscript, and all of the last one", async () => {
	const registry = REGISTRY.getByName("maps");
	const script = (sourceMap?: string): DeployedFunction["script"] => ({
		module: { digest: "same", format: "js", source: "1" },
		...(sourceMap !== undefined && { sourceMap }),
	});
	const long = "a".repeat(2_500_000);
	await registry.put(deployed("a", script(long)));
	await registry.put({ ...deployed("a", script("theirs")), tenant: "u" });
	await registry.put({ ...deployed("a", script()), tenant: "v" });
	const map = (tenant: string): Promise<string | undefined> => registry.sourceMap(tenant, "a", "same");
	expect([await map("t"), await map("u"), await map("v")]).toEqual([long, "theirs", undefined]);
	await registry.put(deployed("a", script("short")));
	expect(await map("t")).toBe("short");
	await registry.put(deployed("a", script()));
	expect([await map("t"), await map("u")]).toEqual([undefined, "theirs"]);
	await registry.delete("u", "a");
	await registry.put({ ...deployed("a", script()), tenant: "u" });
	expect(await map("u")).toBeUndefined();
});

test("source maps that were kept with the initscripts go to whoever deployed them", async () => {
	const registry = REGISTRY.getByName("old maps");
	await registry.put(deployed("a", { module: { digest: "m", format: "js", source: "1" } }));
	await runInDurableObject(registry, async (_, state) => {
		state.storage.sql.exec(
			"INSERT INTO blobs (digest, kind, part, bytes) VALUES ('m', 'map', 0, ?)",
			new TextEncoder().encode("old").buffer,
		);
		expect(new Registry(state, {}).sourceMap("t", "a", "m")).toBe("old");
		expect(new Registry(state, {}).sourceMap("t", "a", "m")).toBe("old");
	});
});

test("an image is another tenant's when one of its functions has it", async () => {
	const registry = REGISTRY.getByName("images");
	const image = `r.example/i@sha256:${"0".repeat(64)}`;
	const it = deployed("a");
	await registry.put({ ...it, manifest: { ...it.manifest, app: { ...it.manifest.app, image } } });
	expect([await registry.isOthersImage(image, "t"), await registry.isOthersImage(image, "u")]).toEqual([
		false,
		true,
	]);
});

test("files that were noted without their bytes are still whose they were", async () => {
	const registry = REGISTRY.getByName("old bundles");
	await runInDurableObject(registry, async (_, state) => {
		const { sql } = state.storage;
		sql.exec("DROP TABLE bundles");
		sql.exec(
			"CREATE TABLE bundles (tenant TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (tenant, digest)) WITHOUT ROWID",
		);
		sql.exec("INSERT INTO bundles VALUES ('t', '00')");
		const next = new Registry(state, {});
		expect([next.hasBundle("t", "00"), next.bundleBytes("t")]).toEqual([true, { tenant: 0, node: 0 }]);
		expect(next.unmeasuredBundles()).toEqual(["00"]);
		next.measureBundle("00", 7);
		expect(new Registry(state, {}).bundleBytes("t")).toEqual({ tenant: 7, node: 7 });
	});
});
