/// <reference types="@cloudflare/vitest-plugin/types" />
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect, test } from "vitest";
import { tenants } from "./node.ts";
import type { Services } from "./services.ts";

const { SERVICES } = env as unknown as { SERVICES: DurableObjectNamespace<Services> };

test("a tenant has so many services that have not ended, and no more", async () => {
	const tenant = { name: "acme", createdAt: 1, tokenHash: new Uint8Array() };
	tenants.put({ ...tenant, quota: { services: 2 } });
	await runInDurableObject(SERVICES.getByName("quota"), async (services, { storage }) => {
		const row =
			"INSERT INTO services (id, tenant, name, live, started_at, body, input) VALUES (?, ?, 's', ?, 1, '{}', x'')";
		for (const [id, owner, live] of [
			["s-1", "acme", 1],
			["s-2", "acme", 1],
			["s-3", "acme", 0],
		] as const)
			storage.sql.exec(row, id, owner, live);
		const how = { wait: true, withoutCaches: false };
		expect(await services.start("acme", "s", new Uint8Array(), how)).toEqual({
			error: {
				code: "quotaExceeded",
				message: "2 services run, and the tenant's quota of services is 2",
			},
		});
		tenants.put({ ...tenant, quota: {} });
		for (let number = 4; number < 34; number++) storage.sql.exec(row, `s-${number}`, "acme", 1);
		expect(await services.start("acme", "s", new Uint8Array(), how)).toMatchObject({
			error: { message: "32 services run, and the tenant's quota of services is 32" },
		});
	});
	tenants.drop("acme");
});
