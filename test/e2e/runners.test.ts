/** More tenants than there may be runners: no process serves two, the idle make room, and who finds none goes on without. */
import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import type { NodeClient } from "../../src/cli/client.ts";
import { RUNNER_SLOTS } from "../../src/cli/node/bridge-config.ts";
import { until } from "../../src/cli/node/wait.ts";
import type { InstanceRecord } from "../../src/shared/record.ts";
import { type Answer, deployProbe, type Event, invoke } from "../harness/probe.ts";
import { boxedApplications, runnerProcesses, runners } from "../harness/processes.ts";
import { useNode } from "../harness/suite.ts";

/** Clients of as many tenants as there are slots, and one more. */
const clients: NodeClient[] = [];

const node = useNode(
	async (started) => {
		const { endpoint = "", region = "", accessKey = "", secretKey = "" } = started.node.store ?? {};
		const secret = { kind: "s3", endpoint, region, access_key: accessKey, secret_key: secretKey };
		await started.put("inputs", "a", "contents of a");
		await started.operator.json("/v1/tenants/default", { method: "POST", body: "{}" });
		for (let number = 0; number <= RUNNER_SLOTS; number++) {
			const path = `/v1/tenants/t${number}`;
			const { token } = await started.operator.json<{ token: string }>(path, { method: "POST", body: "{}" });
			const client = started.of(token);
			clients.push(client);
			await client.ask("/v1/secrets/dev-store", { method: "PUT", body: JSON.stringify(secret) });
			await deployProbe({ client, node: started.node }, { name: "probe", isolation: "bubblewrap" });
		}
	},
	{ development: false },
);

function clientOf(tenant: number): NodeClient {
	const client = clients[tenant];
	if (client === undefined) throw new Error(`there is no tenant ${tenant}`);
	return client;
}

function run(tenant: number, event: Event): Promise<Answer> {
	return invoke({ client: clientOf(tenant) }, "probe", event, "cold=1");
}

function ended(tenant: number, id: string): Promise<InstanceRecord> {
	return until(`the end of ${id}`, 15_000, async () => {
		const record = await clientOf(tenant).json<InstanceRecord>(`/v1/instances/${id}`);
		return record.state === "running" ? undefined : record;
	});
}

const download = { script: [["get", "inputs", "a"]], app: [["download", "inputs", "a"]] } satisfies Event;
const all = Array.from({ length: RUNNER_SLOTS + 1 }, (_, number) => number);

test("tenants take turns, and each finds a process that has been nobody else's", async () => {
	const owners = new Map<number, string>();
	for (const number of [...all, ...all]) {
		const { status, steps, instance } = await run(number, {
			...download,
			app: [["sleep", 1], ...download.app],
		});
		expect({ status, steps }).toMatchObject({ status: 200, steps: [null, { head: "contents of a" }] });
		expect((await ended(number, instance)).script).toEqual({ end: "exit 0" });
		const assigned = (await runnerProcesses(node().node.run)).filter(({ slot }) => slot !== null);
		expect(assigned.length).toBeLessThanOrEqual(RUNNER_SLOTS);
		expect(assigned.map(({ tenant }) => tenant)).toContain(`t${number}`);
		for (const { pid, tenant } of assigned) {
			if (pid > 0) expect(owners.get(pid) ?? tenant).toBe(tenant);
			owners.set(pid, tenant);
		}
	}
});

/** The user of a process, as the kernel says. */
async function userOf(pid: number): Promise<number> {
	const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
	return Number(/^Uid:\t(\d+)/m.exec(status)?.[1] ?? Number.NaN);
}

test("no two runners or applications have a user of the machine in common", async () => {
	const { run: folder } = node().node;
	const working = [0, 1].map((number) => run(number, { ...download, app: [["sleep", 3], ...download.app] }));
	const found = await until("two tenants' runners and applications", 10_000, async () => {
		const [processes, applications] = await Promise.all([runnerProcesses(folder), boxedApplications(folder)]);
		const mine = processes.filter(({ tenant, pid }) => pid > 0 && /^t[01]$/.test(tenant));
		const owners = applications.map(async ({ pids, user }) => {
			return (await Promise.all(pids.map(userOf))).includes(user);
		});
		// Until it has become the application, a process is still root's.
		const started = (await Promise.all(owners)).filter((is) => is).length === 2;
		return started && mine.length === 2 ? [...mine, ...applications] : undefined;
	});
	for (const it of found) if ("pid" in it) expect(await userOf(it.pid)).toBe(it.user);
	expect(new Set(found.map(({ user }) => user)).size).toBe(4);
	for (const { status } of await Promise.all(working)) expect(status).toBe(200);
});

test("when all are at work, one more goes on without its initscript, and none of them is disturbed", async () => {
	const busy = all.slice(0, RUNNER_SLOTS);
	for (const number of busy) await run(number, download);
	const processes = (): Promise<number[][]> =>
		Promise.all(busy.map((number) => runners(node().node.run, `t${number}`)));
	const before = await until("all runners", 10_000, async () => {
		const all = await processes();
		return all.every(({ length }) => length === 1) ? all : undefined;
	});
	const working = busy.map((number) =>
		run(number, {
			script: [
				["sleep", 4_000],
				["get", "inputs", "a"],
			],
			app: [
				["sleep", 6],
				["download", "inputs", "a"],
			],
		}),
	);
	await new Promise((resolve) => setTimeout(resolve, 1_500));
	const { status, steps, instance } = await run(RUNNER_SLOTS, download);
	expect({ status, steps }).toMatchObject({ status: 200, steps: [{ head: "contents of a" }] });
	expect((await ended(RUNNER_SLOTS, instance)).script).toMatchObject({ error: { code: "tooMany" } });
	for (const [number, answer] of (await Promise.all(working)).entries()) {
		expect(answer).toMatchObject({ status: 200, steps: [null, { head: "contents of a" }] });
		expect((await ended(number, answer.instance)).script).toEqual({ end: "exit 0" });
	}
	expect(await processes()).toEqual(before);
});
