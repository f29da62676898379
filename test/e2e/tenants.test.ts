/** Tenants of a node that wants tokens: what is one's is no other's. */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { NodeClient } from "../../src/cli/client.ts";
import { until } from "../../src/cli/node/wait.ts";
import { inRoot } from "../../src/cli/paths.ts";
import { type Event, invoke } from "../harness/probe.ts";
import { killHost } from "../harness/processes.ts";
import { useNode } from "../harness/suite.ts";
import { code, download, echo, Tenants } from "../harness/tenants.ts";

const MIB = 1 << 20;

const node = useNode(
	async (node) => {
		await node.put("inputs", "a", "contents of a");
		await node.put("inputs", "big", Buffer.alloc(3 * MIB, "big "));
		await tenants.add("default");
		for (const name of ["acme", "bolt"]) await tenants.use(name);
	},
	{ development: false },
);
const tenants = new Tenants(node);

describe("tokens", () => {
	const routes = [
		["GET", "/v1/node"],
		["GET", "/v1/functions"],
		["PUT", "/v1/functions/probe"],
		["POST", "/v1/functions/probe/invocations"],
		["GET", "/v1/instances"],
		["GET", "/v1/logs"],
		["GET", "/v1/secrets"],
		["PUT", "/v1/secrets/x"],
		["GET", "/v1/tenants"],
		["POST", "/v1/node/key"],
		["POST", "/v1/tenants/x"],
		["GET", "/metrics"],
	] as const;

	test.each(routes)("%s %s is a 401 without one, and with one that is wrong", async (method, path) => {
		const body = method === "GET" ? {} : { body: "{}" };
		for (const token of [undefined, "hst_acme.wrong", "hso_wrong"]) {
			const client = new NodeClient(node().node.url, token === undefined ? {} : { token });
			expect(await code(client, path, { method, ...body })).toBe("401 unauthorized");
		}
	});

	test("health says its status to anybody, and nothing else", async () => {
		const answer = await fetch(`${node().node.url}/healthz`);
		expect(await answer.json()).toEqual({ status: "ok" });
	});

	test("a token says who asks; the operator's work is the operator's", async () => {
		expect(await tenants.of("acme").client.json("/v1/node")).toMatchObject({
			access: "tokens",
			tenant: "acme",
			operator: false,
		});
		expect(await code(tenants.of("acme").client, "/v1/tenants")).toBe("401 unauthorized");
		expect(await code(tenants.of("acme").client, "/metrics")).toBe("401 unauthorized");
		expect(await code(tenants.of("acme").client, "/v1/node/key", { method: "POST" })).toBe(
			"401 unauthorized",
		);
		expect(await code(node().operator, "/v1/functions")).toBe("400 invalidArgument");
		expect(await code(node().operator, "/v1/tenants/acme", { method: "POST" })).toBe("409 alreadyExists");
		expect(await code(node().operator, "/v1/tenants/A..B", { method: "POST" })).toBe("400 invalidArgument");
		expect(await code(node().operator, "/v1/tenants/nobody", { method: "DELETE" })).toBe("404 unknownTenant");
	});

	test("Host and Origin are looked at with a token, too", async () => {
		const headers = { origin: "http://evil.example" };
		expect(await code(tenants.of("acme").client, "/v1/functions", { headers })).toBe("403 forbiddenOrigin");
		expect(
			await code(tenants.of("acme").client, "/v1/functions/probe/invocations", { method: "POST", headers }),
		).toBe("403 forbiddenOrigin");
	});

	test("a flood of wrong tokens and a token of a megabyte hinder nobody", async () => {
		const wrong = Array.from({ length: 500 }, (_, index) =>
			code(new NodeClient(node().node.url, { token: `hst_acme.${index}` }), "/v1/functions"),
		);
		const [{ status }, refused] = await Promise.all([tenants.run("acme", echo), Promise.all(wrong)]);
		expect(status).toBe(200);
		expect(new Set(refused)).toEqual(new Set(["401 unauthorized"]));
		expect(await hugeToken()).toMatch(/4\d\d|closed/);
		expect((await tenants.run("bolt", echo)).status).toBe(200);
	});

	/** The status of a request whose token has a megabyte. */
	function hugeToken(): Promise<string> {
		const headers = { authorization: `Bearer ${"x".repeat(MIB)}` };
		return new Promise((resolve) => {
			const asked = request(`${node().node.url}/v1/functions`, { headers }, (answer) => {
				answer.resume();
				resolve(String(answer.statusCode));
			});
			asked.on("error", () => resolve("closed"));
			asked.end();
		});
	}
});

describe("isolation", () => {
	test("a function, its instances and their lines are there for their tenant only", async () => {
		await tenants.deploy("acme", { name: "only-acmes" });
		const answer = await invoke(tenants.of("acme"), "only-acmes", { app: [["fail", "a line of acme"]] });
		const { instance } = answer;
		await tenants.ended("acme", instance);
		const { client } = tenants.of("bolt");
		expect(await code(client, "/v1/functions/only-acmes")).toBe("404 unknownFunction");
		expect(await code(client, "/v1/functions/only-acmes", { method: "DELETE" })).toBe("404 unknownFunction");
		expect(await code(client, "/v1/functions/only-acmes/invocations", { method: "POST", body: "{}" })).toBe(
			"404 unknownFunction",
		);
		expect(await code(client, `/v1/instances/${instance}`)).toBe("404 unknownInstance");
		expect((await tenants.instances("bolt")).map(({ id }) => id)).not.toContain(instance);
		expect((await tenants.instances("acme")).map(({ id }) => id)).toContain(instance);
		const lines = async (name: string): Promise<string> =>
			(await tenants.of(name).client.ask("/v1/logs")).text();
		expect(await lines("acme")).toContain("a line of acme");
		expect(await lines("bolt")).not.toContain("acme");
	});

	test("a live instance is not found, and not ended, by another tenant", async () => {
		const running = tenants.run("acme", { app: [["sleep", 1.5]] });
		const { id } = await until("the instance", 5_000, async () =>
			(await tenants.instances("acme")).find(({ state }) => state === "running"),
		);
		expect(await code(tenants.of("bolt").client, `/v1/instances/${id}`)).toBe("404 unknownInstance");
		expect(await code(tenants.of("bolt").client, `/v1/instances/${id}`, { method: "DELETE" })).toBe(
			"404 unknownInstance",
		);
		expect((await running).status).toBe(200);
	});

	test("functions of one name are two, and one's warm instance serves the other never", async () => {
		const processes = async (tenant: string): Promise<number[]> => {
			const answers = [];
			for (let round = 0; round < 2; round++) answers.push(await tenants.run(tenant, echo, ""));
			return answers.map(({ process }) => process);
		};
		const [acme, bolt] = [await processes("acme"), await processes("bolt")];
		expect(acme[0]).toBe(acme[1]);
		expect(bolt[0]).toBe(bolt[1]);
		expect(acme[0]).not.toBe(bolt[0]);
	});

	test("files that another tenant has sent are not there", async () => {
		const { bundle, manifest } = await tenants
			.of("acme")
			.client.json<{ bundle: string; manifest: unknown }>("/v1/functions/only-acmes");
		const hex = bundle.slice("sha256:".length);
		// Bolt's probe has the same files: a tenant without any.
		await tenants.add("empty");
		const { client } = tenants.of("empty");
		expect((await tenants.of("acme").client.send(`/v1/bundles/${hex}`, { method: "HEAD" })).status).toBe(200);
		expect((await client.send(`/v1/bundles/${hex}`, { method: "HEAD" })).status).toBe(404);
		const guessed = await client.send(`/v1/bundles/${hex}`, { method: "PUT", body: "not the files" });
		expect(guessed.status).toBe(400);
		const body = JSON.stringify({
			manifest: { name: "stolen", app: { command: ["true"] } },
			bundle,
		});
		expect(manifest).toBeTypeOf("object");
		expect(await code(client, "/v1/functions/stolen", { method: "PUT", body })).toBe("409 unknownBundle");
	});

	test("many at once are answered right, each from its own store", async () => {
		const event = (tenant: string, index: number): Event => ({
			...download,
			app: [["echo", tenant + index]],
		});
		const all = Array.from({ length: 12 }, (_, index) => {
			const tenant = index % 2 ? "acme" : "bolt";
			return tenants.run(tenant, event(tenant, index)).then(({ status, steps }) => ({
				tenant,
				index,
				status,
				steps,
			}));
		});
		for (const { tenant, index, status, steps } of await Promise.all(all))
			expect({ status, steps }).toEqual({ status: 200, steps: [tenant + index] });
	});
});

describe("quotas", () => {
	test("of instances: one more is refused with the limit and the use, and fits after the first", async () => {
		await tenants.use("single", { instances: 1 });
		const first = tenants.run("single", { app: [["sleep", 1]] });
		await until("the first", 5_000, async () => (await tenants.used("single"))?.instances === 1 || undefined);
		const refused = await tenants.run("single", echo);
		expect(refused).toMatchObject({ status: 429, body: { code: "quotaExceeded" } });
		expect(refused.body.message).toMatch(/1 instances run.*quota of instances is 1/);
		expect((await tenants.run("acme", echo)).status).toBe(200);
		expect((await first).status).toBe(200);
		await tenants.unused("single");
		expect((await tenants.run("single", echo)).status).toBe(200);
	});

	test("of memory: sandboxes' limits and results count together", async () => {
		await tenants.use("small", { memory: 100 * MIB });
		const refused = await tenants.run("small", echo);
		expect(refused).toMatchObject({ status: 429, body: { code: "quotaExceeded" } });
		expect(refused.body.message).toMatch(/134217728 bytes more than the 0 in use.*memory quota of 104857600/);
		const body = JSON.stringify({ memory: 130 * MIB });
		await node().operator.ask("/v1/tenants/small/quota", { method: "PUT", body });
		const { status, steps, instance } = await tenants.run("small", {
			script: [["get", "inputs", "big"]],
			app: [
				["download", "inputs", "a"],
				["download", "inputs", "big"],
			],
		});
		expect({ status, steps }).toMatchObject({
			status: 200,
			steps: [{ bytes: 13 }, { error: "quotaExceeded" }],
		});
		await tenants.ended("small", instance);
		await tenants.unused("small");
	});

	test("of connections: one more is refused, and those that wait make room", async () => {
		await tenants.use("narrow", { connections: 1 });
		await node().fault({ request: "GET inputs/a", kind: "slow", ms: 700 });
		const { instance } = await tenants.run("narrow", {
			script: [
				["get", "inputs", "a"],
				["get", "inputs", "big"],
			],
			app: [["sleep", 1]],
		});
		const { events } = await tenants.ended("narrow", instance);
		const errors = events.filter(({ kind }) => kind === "rpcDone").map(({ error }) => error);
		expect(errors).toContainEqual({
			code: "quotaExceeded",
			message: "1 connections are open, and the tenant's quota of connections is 1",
		});
		await node().resetStore();
		const twice = { ...download, app: [...(download.app ?? []), ["download", "inputs", "big"]] };
		expect((await tenants.run("narrow", twice)).steps).toMatchObject([{ bytes: 13 }, { bytes: 3 * MIB }]);
		expect(await tenants.used("narrow")).toMatchObject({ connections: 1 });
	});

	test("what is counted is given back when an application or the host is killed", {
		timeout: 60_000,
	}, async () => {
		await tenants.use("killed", { instances: 1 });
		const sleeping = tenants.run("killed", { app: [["sleep", 20]] });
		const { id } = await until("the instance", 5_000, async () =>
			(await tenants.instances("killed")).find(({ state }) => state === "running"),
		);
		const pid = await until("its process", 5_000, async () => {
			const { events } = await tenants.record("killed", id);
			return Number(events.find(({ kind }) => kind === "sandboxCreated")?.id) || undefined;
		});
		process.kill(pid, "SIGKILL");
		expect((await sleeping).status).toBe(502);
		await tenants.unused("killed");
		const cut = tenants.run("killed", { app: [["sleep", 20]] }).catch(() => "cut");
		await until(
			"the second",
			5_000,
			async () => (await tenants.used("killed"))?.instances === 1 || undefined,
		);
		await killHost(node().node.host.pid, inject("host"));
		expect(await cut).toBe("cut");
		await until("the host", 20_000, async () => {
			const answer = await fetch(`${node().node.url}/healthz`).catch(() => undefined);
			return answer?.ok || undefined;
		});
		await tenants.unused("killed");
		expect((await tenants.run("killed", echo)).status).toBe(200);
	});

	test("a bridge that was killed is told of them again", { timeout: 60_000 }, async () => {
		process.kill(node().node.bridge.pid ?? 0, "SIGKILL");
		await until("the bridge", 20_000, async () => {
			const answer = await fetch(`${node().node.url}/healthz`).catch(() => undefined);
			return answer?.ok || undefined;
		});
		const first = until("an answer", 20_000, async () => {
			const answer = await tenants.run("single", { app: [["sleep", 1]] });
			return answer.status === 200 || undefined;
		});
		await until(
			"the first",
			20_000,
			async () => (await tenants.used("single"))?.instances === 1 || undefined,
		);
		expect((await tenants.run("single", echo)).body.code).toBe("quotaExceeded");
		await first;
	});
});

describe("a tenant whose token", () => {
	test("is renewed: the old one is worth nothing, what it began ends, the rest stays", async () => {
		await tenants.use("renewed");
		const old = tenants.of("renewed");
		await tenants.run("renewed", { app: [["fail", "begun"]] });
		const running = tenants.run("renewed", { app: [["sleep", 20]] });
		await until(
			"the instance",
			5_000,
			async () => (await tenants.used("renewed"))?.instances === 1 || undefined,
		);
		const followed = await old.client.ask("/v1/logs?follow=1");
		const { token } = await node().operator.json<{ token: string }>("/v1/tenants/renewed/token", {
			method: "POST",
		});
		expect((await running).status).toBeGreaterThanOrEqual(400);
		expect(await code(old.client, "/v1/functions")).toBe("401 unauthorized");
		expect(await followed.text()).toContain("begun");
		tenants.keep("renewed", token);
		expect((await tenants.run("renewed", download)).steps).toMatchObject([{ bytes: 13 }]);
	});

	test("is removed: all of it goes, and another of the name begins with nothing", async () => {
		await tenants.use("gone");
		const before = tenants.of("gone");
		await tenants.run("gone", { app: [["fail", "a line that goes"]] });
		await tenants.run("gone", echo, "");
		const running = tenants.run("gone", { app: [["sleep", 20]] });
		await until(
			"the instances",
			5_000,
			async () => (await tenants.used("gone"))?.instances === 2 || undefined,
		);
		await node().operator.ask("/v1/tenants/gone", { method: "DELETE" });
		expect((await running).status).toBeGreaterThanOrEqual(400);
		expect(await code(before.client, "/v1/functions")).toBe("401 unauthorized");
		await tenants.add("gone");
		const { client } = tenants.of("gone");
		expect(await client.json("/v1/functions")).toEqual({ functions: [] });
		expect(await client.json("/v1/instances")).toEqual({ instances: [] });
		expect(await client.json("/v1/secrets")).toEqual({ secrets: [] });
		expect(await (await client.ask("/v1/logs")).text()).toBe("");
		expect(await code(before.client, "/v1/functions")).toBe("401 unauthorized");
		await tenants.unused("gone");
	});
});

describe("the command line", () => {
	let home: string;

	beforeAll(async () => {
		home = await mkdtemp(join(tmpdir(), "hst-home-"));
	});

	afterAll(() => rm(home, { recursive: true }));

	/** Runs it with what it is told on standard input, and the operator's token where none was kept. */
	function headstart(args: string[], input = "", token?: string): Promise<{ status: number; text: string }> {
		const { HEADSTART_TOKEN: _, HEADSTART_TENANT: __, ...rest } = process.env;
		const env = {
			...rest,
			HEADSTART_NODE: node().node.url,
			XDG_CONFIG_HOME: home,
			...(token === undefined ? {} : { HEADSTART_TOKEN: token }),
		};
		return new Promise((resolve) => {
			const child = execFile(inRoot("bin/headstart"), args, { env }, (error, stdout, stderr) => {
				resolve({ status: typeof error?.code === "number" ? error.code : 0, text: stdout + stderr });
			});
			child.stdin?.end(input);
		});
	}

	test("adds a tenant, sets its secret, and works for it with a kept token", {
		timeout: 60_000,
	}, async () => {
		const operator = await readFile(node().node.operatorToken ?? "", "utf8");
		expect((await headstart(["tenant", "list"])).text).toMatch(
			/^headstart: a token is missing .*unauthorized/,
		);
		const { text: token } = await headstart(["tenant", "add", "cli", "--instances", "3"], "", operator);
		expect(token).toMatch(/^hst_cli\.[\w-]{43}\n$/);
		const twice = await headstart(["tenant", "add", "cli"], "", operator);
		expect(twice).toMatchObject({ status: 1, text: expect.stringContaining("alreadyExists") });
		const size = await headstart(["tenant", "quota", "cli", "--memory", "much"], "", operator);
		expect(size).toMatchObject({ status: 1, text: expect.stringContaining("is no size") });
		const changed = await headstart(["tenant", "quota", "cli", "--memory", "1GiB"], "", operator);
		expect(changed).toEqual({ status: 0, text: "1GiB\n" });
		expect((await headstart(["tenant", "list"], "", operator)).text).toMatch(/^cli +1GiB +uses 0 instances/m);

		expect((await headstart(["secret", "set", "cli/dev-store"], tenants.secret(), operator)).status).toBe(0);
		const wrong = await headstart(["secret", "set", "cli/other"], "secret_key = hush hush", operator);
		expect(wrong.status).toBe(1);
		expect(wrong.text).not.toContain("hush");
		const rotated = await headstart(["secret", "rotate-key"], "", operator);
		expect(rotated.text).toMatch(/^[1-9]\d* secrets are sealed with a new key\n$/);
		expect((await headstart(["login"], token)).text).toContain("tenant cli at");
		expect((await headstart(["login"], "hst_cli.wrong")).text).toContain("unauthorized");
		expect((await headstart(["secret", "list"])).text).toMatch(/^dev-store +s3\n$/);
		tenants.keep("cli", token.trim());
		await tenants.deploy("cli");
		const invoked = await headstart(["invoke", "probe", "--cold", "--json", "-d", JSON.stringify(download)]);
		expect(JSON.parse(invoked.text)).toMatchObject({ status: 200, answer: { steps: [{ bytes: 13 }] } });
		expect((await headstart(["trace"])).text).toContain("critical path");
		expect((await headstart(["secret", "remove", "dev-store"])).status).toBe(0);
		expect((await headstart(["tenant", "remove", "cli"])).text).toContain("unauthorized");
		expect((await headstart(["tenant", "remove", "cli"], "", operator)).status).toBe(0);
		expect((await headstart(["secret", "list"])).text).toContain("unauthorized");
	});
});
