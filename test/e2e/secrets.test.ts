/** The credentials of a tenant's stores. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { until } from "../../src/cli/node/wait.ts";
import { textsInProcess } from "../harness/memory.ts";
import { descendants } from "../harness/processes.ts";
import { useNode } from "../harness/suite.ts";
import { code, download, Tenants } from "../harness/tenants.ts";

const node = useNode(
	async (node) => {
		await node.put("inputs", "a", "contents of a");
		for (const name of ["default", "acme"]) await tenants.add(name);
		await tenants.putSecret("acme");
	},
	{ development: false },
);
const tenants = new Tenants(node);

describe("secrets", () => {
	test("are listed by name and kind, and are one tenant's", async () => {
		expect(await tenants.of("acme").client.json("/v1/secrets")).toEqual({
			secrets: [{ name: "dev-store", kind: "s3" }],
		});
		expect(await code(tenants.of("acme").client, "/v1/secrets/dev-store")).toBe("404 notFound");
		await tenants.add("poor");
		await expect(tenants.deploy("poor")).rejects.toThrow("unknownSecret");
	});

	test("a changed one holds from the next start on", async () => {
		await tenants.use("changing");
		expect((await tenants.run("changing", download, "")).steps).toMatchObject([{ bytes: 13 }]);
		await tenants.putSecret("changing", { secret_key: "another" });
		const refused = await until("the new value", 5_000, async () => {
			const { steps } = await tenants.run("changing", download);
			return JSON.stringify(steps).includes("error") ? steps : undefined;
		});
		expect(refused).toMatchObject([{ error: expect.any(String) }]);
		await tenants.putSecret("changing");
		expect((await tenants.run("changing", download)).steps).toMatchObject([{ bytes: 13 }]);
		await tenants.of("changing").client.ask("/v1/secrets/dev-store", { method: "DELETE" });
		expect(await tenants.run("changing", download)).toMatchObject({ body: { code: "unknownSecret" } });
	});

	test("are in no log, error, record, environment, file or memory that a tenant can read", {
		timeout: 90_000,
	}, async () => {
		const { store } = node().node;
		const sentinel = (what: string): string => `Sentinel-${what}-${"q".repeat(20)}`;
		const cases: [tenant: string, changes: Record<string, string>][] = [
			["forged", { secret_key: sentinel("forged") }],
			["stranger", { access_key: "AKSTRANGER", secret_key: sentinel("stranger") }],
			["refused", { endpoint: "http://10.213.255.1:9", secret_key: sentinel("refused") }],
			["nowhere", { endpoint: "http://nowhere.invalid:9", secret_key: sentinel("nowhere") }],
			["right", {}],
		];
		const secrets = [store?.secretKey ?? "", ...cases.flatMap(([, { secret_key = [] }]) => secret_key)];
		const said: string[] = [];
		for (const [tenant, changes] of cases) {
			await tenants.add(tenant);
			await tenants.putSecret(tenant, changes);
			await tenants.deploy(tenant);
			const running = tenants.run(tenant, { ...download, app: [...(download.app ?? []), ["sleep", 2]] });
			await new Promise((resolve) => setTimeout(resolve, 1_500));
			const [live] = await tenants.instances(tenant);
			if (live === undefined) throw new Error("no instance");
			const record = await tenants.record(tenant, live.id);
			const pid = Number(record.events.find(({ kind }) => kind === "sandboxCreated")?.id);
			const sandbox = [pid, ...(await descendants(pid)).map((each) => each.pid)];
			for (const each of sandbox) expect(await textsInProcess(each, secrets)).toEqual([]);
			const answer = await running;
			said.push(JSON.stringify(answer), JSON.stringify(await tenants.ended(tenant, answer.instance)));
			const only = await tenants.of(tenant).client.send("/v1/functions/probe/invocations?only=initscript", {
				method: "POST",
				body: JSON.stringify(download),
			});
			said.push(await only.text(), await (await tenants.of(tenant).client.ask("/v1/logs")).text());
			const malformed = await tenants.of(tenant).client.send("/v1/secrets/dev-store", {
				method: "PUT",
				body: tenants.secret({ ...changes, region: "" }),
			});
			expect(malformed.status).toBe(400);
			said.push(await malformed.text());
		}
		said.push(await (await node().operator.ask("/v1/logs")).text(), node().lines.join("\n"));
		said.push(JSON.stringify(await node().operator.json("/v1/tenants")));
		for (const text of said) for (const secret of secrets) expect(text).not.toContain(secret);
		const below = await descendants(node().node.bridge.pid ?? 0);
		const runners = below.filter(({ command }) => /workerd\0serve/.test(command));
		expect(runners.length).toBeGreaterThan(0);
		for (const { pid } of runners) expect(await textsInProcess(pid, secrets)).toEqual([]);
		const { run: runFolder, state } = node().node;
		// In STATE/base lies the machine's own /usr.
		for (const folder of [
			runFolder,
			join(state, "objects"),
			join(state, "secrets"),
			join(state, "bundles"),
		]) {
			for (const file of await filesIn(folder)) {
				const bytes = await readFile(file).catch(() => Buffer.alloc(0));
				for (const secret of secrets) expect(bytes.includes(secret), file).toBe(false);
			}
		}
		// What is looked for can be found.
		expect(secrets.every((secret) => secret.length > 20)).toBe(true);
		expect(new Set(await textsInProcess(process.pid, secrets))).toEqual(new Set(secrets));
	});

	async function filesIn(folder: string): Promise<string[]> {
		const entries = await readdir(folder, { recursive: true, withFileTypes: true });
		return entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
	}
});
