/// <reference types="@cloudflare/vitest-plugin/types" />
import { env as bindings } from "cloudflare:workers";
import { afterEach, expect, test } from "vitest";
import { tenants } from "../durable/node.ts";
import type { KnownTenant } from "../durable/tenants.ts";
import type { Env } from "../shared/env.ts";
import { registry } from "./functions.ts";
import { addTenant, removeTenant, renewToken, setQuota } from "./tenants.ts";

/** Answers each request when it is let. */
class SlowBridge {
	readonly #waiting: (() => void)[] = [];
	slow = false;

	async fetch(): Promise<Response> {
		if (this.slow) await new Promise<void>((resolve) => this.#waiting.push(resolve));
		return new Response(null, { status: 204 });
	}

	release(): void {
		this.slow = false;
		for (const answer of this.#waiting.splice(0)) answer();
	}
}

const bridge = new SlowBridge();
const env = { ...(bindings as unknown as Env), BRIDGE: bridge as unknown as Fetcher };
const rightToken = (token: string): boolean | Promise<boolean> =>
	tenants.isToken("acme", new TextEncoder().encode(token));
const later = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 50));

afterEach(async () => {
	bridge.release();
	if (tenants.has("acme")) await removeTenant(env, "acme");
});

test("a token that was replaced while the quota changed stays replaced, and the quota stays", async () => {
	const { token: old } = await addTenant(env, "acme", {});
	bridge.slow = true;
	const quota = setQuota(env, "acme", { instances: 3 });
	const renewed = renewToken(env, "acme");
	await later();
	bridge.release();
	await quota;
	const token = await renewed;
	expect([await rightToken(old), await rightToken(token)]).toEqual([false, true]);
	expect(tenants.get("acme").quota).toEqual({ instances: 3 });
	const [kept] = (await registry(env).tenants()) as KnownTenant[];
	expect(kept).toMatchObject({ quota: { instances: 3 }, tokenHash: tenants.get("acme").tokenHash });
});

test.each([
	["its quota changed", () => setQuota(env, "acme", {})],
	["its token was replaced", () => renewToken(env, "acme")],
])("a tenant that was removed while %s stays removed", async (_, change) => {
	const { token } = await addTenant(env, "acme", {});
	bridge.slow = true;
	const changed = change();
	const removed = removeTenant(env, "acme");
	await later();
	bridge.release();
	await Promise.allSettled([changed, removed]);
	expect([tenants.has("acme"), await rightToken(token), await registry(env).tenants()]).toEqual([
		false,
		false,
		[],
	]);
});

test("of two that are added under one name, one is", async () => {
	bridge.slow = true;
	const both = [addTenant(env, "acme", {}), addTenant(env, "acme", {})];
	await later();
	bridge.release();
	const [one, two] = await Promise.allSettled(both);
	expect([one?.status, two?.status]).toEqual(["fulfilled", "rejected"]);
});
