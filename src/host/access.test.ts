import { env } from "cloudflare:workers";
import { expect, test } from "vitest";
import { tenants } from "../durable/node.ts";
import { hex, sha256 } from "../durable/tenants.ts";
import type { Env } from "../shared/env.ts";
import { HeadstartError } from "../shared/error.ts";
import { type Access, accessOf, checkOperator, tenantOf } from "./access.ts";
import { newToken } from "./token.ts";

const development = env as unknown as Env;
const OPERATOR = "hso_operator";

async function withTokens(): Promise<Env> {
	const { DEVELOPMENT: _, ...rest } = development;
	return { ...rest, OPERATOR_TOKEN_HASH: hex(await sha256(new TextEncoder().encode(OPERATOR))) };
}

async function addTenant(name: string): Promise<string> {
	const token = newToken(name);
	tenants.put({ name, quota: {}, createdAt: 1, tokenHash: await sha256(new TextEncoder().encode(token)) });
	return token;
}

async function ask(host: Env, headers: Record<string, string> = {}): Promise<Access | string> {
	try {
		return await accessOf(host, new Request("http://127.0.0.1/v1/functions", { headers }));
	} catch (error) {
		return HeadstartError.from(error).code;
	}
}

function bearer(token: string): Record<string, string> {
	return { authorization: `Bearer ${token}` };
}

test("without a token nobody is answered, but in development", async () => {
	expect(await ask(development)).toEqual({ tenant: "default", operator: true });
	expect(await ask(await withTokens())).toBe("unauthorized");
	expect(await ask(development, bearer("hst_default.wrong"))).toBe("unauthorized");
});

test("a token says its tenant, and no other", async () => {
	const host = await withTokens();
	const [a, b] = [await addTenant("a"), await addTenant("b")];
	for (let round = 0; round < 2; round++) {
		expect(await ask(host, bearer(a))).toEqual({ tenant: "a", operator: false });
		expect(await ask(host, bearer(b.replace("hst_b", "hst_a")))).toBe("unauthorized");
		expect(await ask(host, bearer(`${a}x`))).toBe("unauthorized");
		expect(await ask(host, { ...bearer(a), "x-headstart-tenant": "b" })).toBe("unauthorized");
	}
	expect(await ask(host, { ...bearer(a), "x-headstart-tenant": "a" })).toMatchObject({ tenant: "a" });
});

test("a token that was seen is compared at once; one that was replaced or removed is worth nothing", async () => {
	const host = await withTokens();
	const old = await addTenant("c");
	await ask(host, bearer(old));
	expect(accessOf(host, new Request("http://127.0.0.1/", { headers: bearer(old) }))).not.toBeInstanceOf(
		Promise,
	);
	const renewed = await addTenant("c");
	expect(await ask(host, bearer(old))).toBe("unauthorized");
	expect(await ask(host, bearer(renewed))).toMatchObject({ tenant: "c" });
	tenants.drop("c");
	expect(await ask(host, bearer(renewed))).toBe("unauthorized");
});

test.each([
	["no scheme", "token"],
	["another scheme", "Basic dXNlcjpwYXNz"],
	["an empty token", "Bearer "],
	["two tokens", "Bearer a b"],
	["a token with odd characters", "Bearer hst_a.\u00e9"],
	["a name that is a prototype's", "Bearer hst___proto__.x"],
	["a megabyte", `Bearer hst_a.${"x".repeat(1 << 20)}`],
])("%s is refused", async (_, authorization) => {
	expect(await ask(await withTokens(), { authorization })).toBe("unauthorized");
	expect(await ask(development, { authorization })).toBe("unauthorized");
});

test("the operator acts for the tenant that is named", async () => {
	const host = await withTokens();
	await addTenant("d");
	const whole = await ask(host, bearer(OPERATOR));
	expect(whole).toEqual({ tenant: undefined, operator: true });
	expect(() => tenantOf(whole as Access)).toThrow("of no tenant");
	expect(await ask(host, { ...bearer(OPERATOR), "x-headstart-tenant": "d" })).toEqual({
		tenant: "d",
		operator: true,
	});
	for (const named of ["nobody", "../d", ""])
		expect(await ask(host, { ...bearer(OPERATOR), "x-headstart-tenant": named })).toBe("unknownTenant");
	expect(await ask(host, bearer("hso_other"))).toBe("unauthorized");
	expect(() => checkOperator({ tenant: "d", operator: false })).toThrow("operator");
});

test("a flood of wrong tokens leaves nothing behind", async () => {
	const host = await withTokens();
	const right = await addTenant("e");
	const before = tenants.all().length;
	const wrong = Array.from({ length: 2000 }, (_, index) => ask(host, bearer(`hst_e.${index}`)));
	expect(new Set(await Promise.all(wrong))).toEqual(new Set(["unauthorized"]));
	expect(tenants.all()).toHaveLength(before);
	expect(await ask(host, bearer(right))).toMatchObject({ tenant: "e" });
});
