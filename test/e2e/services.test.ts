import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, describe, expect, inject, test } from "vitest";
import { askSocket, until } from "../../src/cli/node/wait.ts";
import { inRoot } from "../../src/cli/paths.ts";
import type { ServiceInstance } from "../../src/shared/service.ts";
import { descendants } from "../harness/processes.ts";
import {
	ask,
	deployService,
	getService,
	Line,
	serviceIn,
	startService,
	stopService,
	stopServices,
} from "../harness/service.ts";
import { useNode } from "../harness/suite.ts";

/** How long a service is left alone. */
const SILENCE = 200_000;

interface Silent {
	service: ServiceInstance;
	connection: Line;
	process: string | undefined;
	since: number;
}
/** The service that nobody speaks to while the others are tested. It takes its time, so only one host is put to it. */
let silent: Silent | undefined;

const node = useNode(async (node) => {
	await node.put("inputs", "data", "what the initscript fetched");
	await deployService(node, { name: "greeter", isolation: "bubblewrap" });
	await deployService(node, { name: "guarded", isolation: "gvisor" });
	await deployService(node, { name: "once", isolation: "bubblewrap", service: { restart: "never" } });
	await deployService(node, {
		name: "weary",
		isolation: "bubblewrap",
		service: { restart: "always", max_restarts: 2 },
	});
	await deployService(node, {
		name: "hasty",
		isolation: "bubblewrap",
		service: { ready_timeout: "700ms", stop_grace: "300ms" },
	});
	for (const isolation of ["bubblewrap", "gvisor"] as const) {
		const variant = { isolation, service: { ready_timeout: "20s" } };
		await deployService(node, {
			...variant,
			name: `file-${isolation}`,
			service: { ...variant.service, ready: { file: "/tmp/ready" } },
		});
	}
	await deployService(node, {
		name: "telling",
		isolation: "bubblewrap",
		service: { ready: { message: "listening" } },
	});
	if (inject("host") !== "workerd") return;
	await deployService(node, { name: "silent", isolation: "gvisor" });
	const { service } = await startService(node, "silent");
	const connection = await Line.to(service.address);
	silent = { service, connection, process: await connection.ask("pid"), since: Date.now() };
});

/** All but the silent one: nothing of it may be left after its test. */
afterEach(async () => {
	const { service } = silent ?? {};
	if (service === undefined) return stopServices(node());
	const { services } = await node().client.json<{
		services: { name: string; instances: ServiceInstance[] }[];
	}>("/v1/services");
	const others = services.flatMap(({ instances }) => instances).filter(({ id }) => id !== service.id);
	for (const it of others) await stopService(node(), it.service, it.id);
});

describe.each(["greeter", "guarded"])("%s", (name) => {
	test("is started, serves at its address what its initscript fetched, and is stopped", async () => {
		const { status, service } = await startService(node(), name, { greeting: "good day", key: "data" });
		expect({ status, state: service.state }).toEqual({ status: 201, state: "ready" });
		expect(service.address).toMatch(/^127\.0\.0\.1:\d+$/);
		expect(service.ready_ms).toBeGreaterThan(0);
		expect(await ask(service.address, "greet")).toBe("good day");
		expect(await ask(service.address, "data")).toBe("what the initscript fetched");

		const connection = await Line.to(service.address);
		expect(await connection.ask("hello there")).toBe("hello there");
		const stopped = await stopService(node(), name, service.id);
		expect(stopped).toMatchObject({ id: service.id, state: "stopped", restarts: 0 });
		expect(stopped.error).toBeUndefined();
		if (name === "greeter") expect(await connection.next()).toBe("bye");
		await connection.closed;
		await expect(Line.to(service.address)).rejects.toThrow("ECONNREFUSED");
		const record = await node().record(service.id);
		expect(record).toMatchObject({ id: service.instance, function: name, script: { end: "exit 0" } });
		expect(record.events.map(({ text }) => text)).toContain("ready");
	});
});

test("many connections at once carry much, both ways", async () => {
	const { service } = await startService(node(), "greeter");
	const text = "x".repeat(100_000);
	await Promise.all(
		Array.from({ length: 20 }, async (_, index) => {
			const connection = await Line.to(service.address);
			for (let round = 0; round < 10; round++)
				expect(await connection.ask(`${index}${text}`)).toBe(`${index}${text}`);
			connection.end();
		}),
	);
});

describe("readiness", () => {
	test.each(["file-bubblewrap", "file-gvisor", "telling"])("of %s is what its rule says", async (name) => {
		const { status, service } = await startService(node(), name, {
			after: 0.4,
			file: "/tmp/ready",
			message: "listening",
		});
		expect({ status, state: service.state }).toEqual({ status: 201, state: "ready" });
		expect(service.ready_ms).toBeGreaterThan(400);
		expect(await ask(service.address, "greet")).toBe("hello");
	});

	test("that does not come in time is notReady, with the last lines, and nothing is left", async () => {
		const { status, error } = await startService(node(), "hasty", { silent: true });
		expect({ status, code: error.code }).toEqual({ status: 504, code: "notReady" });
		expect(error.message).toContain("it accepts no connection on port 7000");
		expect(error.message).toContain("begins");
	});

	test("of an application that ends before is its end, with the last lines", async () => {
		const { status, error } = await startService(node(), "greeter", { exit: 3 });
		expect({ status, code: error.code }).toEqual({ status: 502, code: "appExited" });
		expect(error.message).toContain("status 3");
		expect(error.message).toContain("cannot go on");
	});

	test("is not waited for by ?wait=0", async () => {
		const { status, service } = await startService(node(), "greeter", { after: 0.5 }, "?wait=0");
		expect({ status, state: service.state }).toEqual({ status: 202, state: "starting" });
		const ready = await serviceIn(node(), "greeter", service.id, "ready");
		expect(await ask(ready.address, "greet")).toBe("hello");
	});

	test("is not needed to be stopped", async () => {
		const { service } = await startService(node(), "greeter", { silent: true }, "?wait=0");
		expect(await stopService(node(), "greeter", service.id)).toMatchObject({ state: "stopped" });
	});

	test("is not needed to be stopped: nothing is left of those that were still without an instance", async () => {
		// More than there are spares, so that most are stopped while their instances are created.
		const ids = await Promise.all(
			Array.from({ length: 12 }, async () => {
				const { service } = await startService(node(), "greeter", {}, "?wait=0");
				const { state, error } = await stopService(node(), "greeter", service.id);
				expect({ state, error }).toEqual({ state: "stopped", error: undefined });
				return service.id;
			}),
		);
		// What was still asked for by then has been done once a later one is ready. So many at once may have its initscript come too late for it.
		const later = await until("a later one", 20_000, async () => {
			const { service } = await startService(node(), "greeter");
			return service.id === undefined ? undefined : service;
		});
		await stopService(node(), "greeter", later.id);
		await until("the end of their instances", 10_000, async () => {
			const live = ["running", "serving", "warm"];
			const left = (await node().instances()).filter(
				({ state, function: name }) => name === "greeter" && live.includes(state),
			);
			return left.length === 0 || undefined;
		});
		const { body } = await askSocket(join(node().node.run, "bridge.sock"), "/services");
		const { services } = JSON.parse(body) as { services: { service: string }[] };
		expect(services.filter(({ service }) => ids.includes(service))).toEqual([]);
	});
});

describe("restarts", () => {
	test("a crashed one is started again at its address, and its initscript runs again", async () => {
		const { service } = await startService(node(), "greeter", { greeting: "again", key: "data" });
		await ask(service.address, "crash 1");
		// It waits for the next instance, unless the one that ends has taken it.
		const answer = await until("an answer", 10_000, () => ask(service.address, "data"));
		expect(answer).toBe("what the initscript fetched");
		// The one that ends may have given the answer.
		const now = await until("the next instance", 20_000, async () => {
			const it = await getService(node(), "greeter", service.id);
			return it.state === "ready" && it.instance !== service.instance ? it : undefined;
		});
		expect(now).toMatchObject({ address: service.address, restarts: 1 });
		expect((await node().record(now.instance ?? "")).script).toEqual({ end: "exit 0" });
	});

	test("one that ends by itself has done its work, where only failures are followed by a restart", async () => {
		const { service } = await startService(node(), "greeter");
		await ask(service.address, "crash 0");
		expect(await serviceIn(node(), "greeter", service.id, "stopped")).toMatchObject({ restarts: 0 });
	});

	test("never: a crash is the end, and is told", async () => {
		const { service } = await startService(node(), "once");
		await ask(service.address, "crash 7");
		const failed = await serviceIn(node(), "once", service.id, "failed");
		expect(failed).toMatchObject({ restarts: 0, error: { code: "appExited" } });
		await expect(Line.to(service.address)).rejects.toThrow("ECONNREFUSED");
	});

	test("it is given up after the last of them", async () => {
		const { service } = await startService(node(), "weary");
		for (let crashes = 0; crashes < 3; crashes++) {
			const now = await serviceIn(node(), "weary", service.id, "ready");
			expect(now.restarts).toBe(crashes);
			await ask(now.address, "crash 0");
			await until("the end", 10_000, async () => {
				const { state, instance } = await getService(node(), "weary", service.id);
				return state !== "ready" || instance !== now.instance || undefined;
			});
		}
		const failed = await serviceIn(node(), "weary", service.id, "failed");
		expect(failed.error?.message).toContain("given up after 2 restarts");
	});
});

test("one that ignores its signal is killed after its grace", async () => {
	const { service } = await startService(node(), "hasty", { stubborn: true });
	const began = Date.now();
	expect(await stopService(node(), "hasty", service.id)).toMatchObject({ state: "stopped" });
	expect(Date.now() - began).toBeGreaterThanOrEqual(300);
	expect(await node().ended(service.instance ?? "")).toMatchObject({ state: "ended" });
});

test("a service is not invoked, and a function is no service", async () => {
	const invoked = await node().client.send("/v1/functions/greeter/invocations", { method: "POST" });
	expect(invoked.status).toBe(400);
	const { status, error } = await startService(node(), "nobody");
	expect({ status, code: error.code }).toEqual({ status: 404, code: "unknownService" });
});

test("the command line starts, lists, traces and stops", async () => {
	const headstart = async (...args: string[]): Promise<string> => {
		const { stdout } = await promisify(execFile)(inRoot("bin/headstart"), [
			...args,
			"--node",
			node().node.url,
		]);
		return stdout;
	};
	const started = JSON.parse(await headstart("service", "start", "greeter", "-d", "{}", "--json"));
	expect(started).toMatchObject({ service: "greeter", state: "ready" });
	expect(await headstart("service", "list")).toContain(started.id);
	expect(await headstart("service", "list", "greeter")).toContain(started.address);
	expect(await headstart("trace", started.id)).toContain("initscript");
	expect(await headstart("service", "stop", "greeter")).toContain("stopped");
	expect(await headstart("service", "list", "greeter")).not.toContain(started.id);
});

test("removing a service ends what runs of it", async () => {
	await deployService(node(), { name: "removed", isolation: "bubblewrap" });
	const { service } = await startService(node(), "removed");
	await node().client.ask("/v1/functions/removed", { method: "DELETE" });
	await node().ended(service.instance ?? "");
	await expect(Line.to(service.address)).rejects.toThrow("ECONNREFUSED");
});

test.runIf(inject("host") === "workerd")(
	"200 s of silence end neither an instance nor a connection to it",
	async () => {
		const { service, connection, process, since } = silent ?? {};
		if (!service || !connection || since === undefined) throw new Error("it does not run");
		await new Promise((resolve) => setTimeout(resolve, Math.max(0, since + SILENCE - Date.now())));
		const [, instance] = process?.split(" ") ?? [];
		expect(instance).toBe(service.instance);
		expect((await connection.ask("pid"))?.split(" ")[1]).toBe(instance);
		expect((await ask(service.address, "pid"))?.split(" ")[1]).toBe(instance);
		expect(await getService(node(), "silent", service.id)).toMatchObject({ state: "ready", restarts: 0 });
		connection.end();
		silent = undefined;
	},
	SILENCE + 60_000,
);

/** These come last: what they kill takes all other services with it. */
describe("a part of the node that is killed", () => {
	test("host: an instance lives on, at its address, and the next host has it", async () => {
		const { service } = await startService(node(), "greeter", { key: "data" });
		const connection = await Line.to(service.address);
		const host = node().node.host.pid ?? 0;
		for (const { pid, command } of await descendants(host)) if (command.includes("workerd")) kill(pid);
		kill(host);
		expect(await connection.ask("greet")).toBe("hello");
		const now = await until("the next host", 30_000, () =>
			serviceIn(node(), "greeter", service.id, "ready").catch(() => undefined),
		);
		expect(now.address).toBe(service.address);
		if (inject("host") === "workerd") {
			// wrangler needs longer than an instance is kept.
			expect(now).toMatchObject({ instance: service.instance, restarts: 0 });
			expect(await connection.ask("data")).toBe("what the initscript fetched");
			await until("its timeline", 10_000, async () => {
				const { events, state } = await node().record(service.id);
				return (state === "serving" && events.some(({ text }) => text === "ready")) || undefined;
			});
		}
		connection.end();
		expect(await ask(now.address, "greet")).toBe("hello");
	});

	test("bridge: the service is started again, at its address", async () => {
		const { service } = await startService(node(), "greeter", { key: "data" });
		kill(node().node.bridge.pid ?? 0);
		const now = await until("a restart", 40_000, async () => {
			const now = await getService(node(), "greeter", service.id).catch(() => undefined);
			return now?.state === "ready" && now.restarts > 0 ? now : undefined;
		});
		expect(now.address).toBe(service.address);
		expect(await ask(now.address, "data")).toBe("what the initscript fetched");
	});
});

function kill(pid: number): void {
	process.kill(pid, "SIGKILL");
}
