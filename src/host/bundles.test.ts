/// <reference types="@cloudflare/vitest-plugin/types" />

import { runInDurableObject } from "cloudflare:test";
import { env as bindings } from "cloudflare:workers";
import { afterAll, beforeEach, expect, test } from "vitest";
import { tenants } from "../durable/node.ts";
import type { Env } from "../shared/env.ts";
import type { DeployedFunction } from "../shared/function.ts";
import { parseManifest } from "../shared/manifest.ts";
import { collectBundles, headBundle, putBundle } from "./bundles.ts";
import { registry } from "./functions.ts";

const GIB = 2 ** 30;

/** A bridge's disk: bundles of one GiB each. */
class Disk {
	readonly bundles = new Set<string>();
	readonly used = new Set<string>();

	async fetch(url: string, init: { method?: string } = {}): Promise<Response> {
		const hex = url.split("/")[4] ?? "";
		switch (init.method ?? "GET") {
			case "GET":
				return Response.json(hex === "" ? { bundles: [...this.bundles] } : { bytes: GIB });
			case "HEAD":
				return new Response(null, { status: this.bundles.has(hex) ? 200 : 404 });
			case "PUT":
				this.bundles.add(hex);
				return new Response(null, { status: 201, headers: { "x-headstart-bytes": String(GIB) } });
			default:
				if (this.used.has(hex)) return Response.json({ code: "imageInUse", message: "x" }, { status: 409 });
				this.bundles.delete(hex);
				return new Response(null, { status: 204 });
		}
	}
}

let disk = new Disk();
const environment = (): Env => ({ ...(bindings as unknown as Env), BRIDGE: disk as unknown as Fetcher });
const hex = (digit: string): string => digit.repeat(64);
const put = (tenant: string, digit: string): Promise<Response> =>
	putBundle(environment(), tenant, hex(digit), new Request("http://h/", { method: "PUT", body: "x" }));

async function deploy(tenant: string, name: string, digit: string): Promise<void> {
	const it: DeployedFunction = {
		tenant,
		digest: `${name}${digit}`,
		manifest: parseManifest({ name, app: { command: ["true"] } }),
		bundle: `sha256:${hex(digit)}`,
		deployedAt: 1,
	};
	await registry(environment()).put(it);
}

/** Lets so much time pass for all that was put. */
async function age(ms: number): Promise<void> {
	await runInDurableObject(registry(environment()), (_, { storage }) => {
		storage.sql.exec("UPDATE bundles SET used_at = used_at - ?", ms);
	});
}

beforeEach(async () => {
	disk = new Disk();
	for (const name of ["acme", "bolt"]) {
		tenants.put({ name, quota: { bundles: 2 * GIB }, createdAt: 1, tokenHash: new Uint8Array() });
		await registry(environment()).deleteTenant(name);
	}
});
afterAll(() => {
	for (const name of ["acme", "bolt"]) tenants.drop(name);
});

test("what no deployed version uses goes, an hour after it was last asked for", async () => {
	await put("acme", "a");
	await put("acme", "b");
	await deploy("acme", "f", "a");
	await collectBundles(environment());
	expect(disk.bundles.size).toBe(2);
	await age(2 * 3_600_000);
	expect((await headBundle(environment(), "acme", hex("b"))).status).toBe(200);
	await collectBundles(environment());
	expect(disk.bundles.size).toBe(2);
	await age(2 * 3_600_000);
	disk.used.add(hex("b"));
	await collectBundles(environment());
	expect(disk.bundles.size).toBe(2);
	disk.used.clear();
	await collectBundles(environment());
	expect([...disk.bundles]).toEqual([hex("a")]);
	expect((await headBundle(environment(), "acme", hex("b"))).status).toBe(404);
	// A removed tenant's, and what nobody has noted.
	disk.bundles.add(hex("c"));
	await registry(environment()).deleteTenant("acme");
	await collectBundles(environment());
	expect(disk.bundles.size).toBe(0);
});

test("files that several have put stay while one of them uses them", async () => {
	await put("acme", "a");
	await put("bolt", "a");
	await deploy("bolt", "f", "a");
	await age(2 * 3_600_000);
	await collectBundles(environment());
	expect(disk.bundles.size).toBe(1);
	expect((await headBundle(environment(), "acme", hex("a"))).status).toBe(404);
	expect((await headBundle(environment(), "bolt", hex("a"))).status).toBe(200);
});

test("a tenant's files have a bound: the unused ones make room first, and another tenant's stay", async () => {
	await put("bolt", "b");
	await put("acme", "1");
	await put("acme", "2");
	await expect(put("acme", "3")).rejects.toMatchObject({ code: "quotaExceeded", status: 429 });
	await age(20 * 60_000);
	await deploy("acme", "f", "1");
	expect((await put("acme", "3")).status).toBe(201);
	expect([...disk.bundles].sort()).toEqual([hex("1"), hex("3"), hex("b")]);
	await deploy("acme", "g", "3");
	await age(20 * 60_000);
	await expect(put("acme", "4")).rejects.toMatchObject({ code: "quotaExceeded" });
});

test("uploads that come at one time are within the bound together, and what is beyond it goes again", async () => {
	const all = await Promise.allSettled(["1", "2", "3", "4"].map((digit) => put("acme", digit)));
	const refused = all.flatMap((it) => (it.status === "rejected" ? [it.reason] : []));
	expect(refused).toEqual(Array(2).fill(expect.objectContaining({ code: "quotaExceeded" })));
	expect(disk.bundles.size).toBe(2);
});

test("what was put before anybody counted counts from the next collection on", async () => {
	await put("acme", "a");
	await runInDurableObject(registry(environment()), (_, { storage }) => {
		storage.sql.exec("UPDATE bundles SET bytes = 0");
	});
	expect((await registry(environment()).bundleBytes("acme")).tenant).toBe(0);
	await collectBundles(environment());
	expect((await registry(environment()).bundleBytes("acme")).tenant).toBe(GIB);
});

test("what was removed while it was put is put again", async () => {
	const { fetch } = disk;
	disk.fetch = async (url, init = {}) => {
		const answer = await fetch.call(disk, url, init);
		if (init.method === "PUT") disk.bundles.clear();
		return answer;
	};
	await expect(put("acme", "a")).rejects.toMatchObject({ code: "unknownBundle" });
});
