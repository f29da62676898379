/** A runner that was taken over speaks to the relay as it likes: its tenant's connection ends, and another tenant's work goes on. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import type { NodeClient } from "../../src/cli/client.ts";
import { until } from "../../src/cli/node/wait.ts";
import { deployProbe, invoke } from "../harness/probe.ts";
import { runnerProcesses } from "../harness/processes.ts";
import { useNode } from "../harness/suite.ts";

const isolation = "bubblewrap";

interface Tenant {
	client: NodeClient;
	node: ReturnType<typeof node>["node"];
}

let victim: Tenant;
const node = useNode(
	async (started) => {
		await started.put("inputs", "a", "contents of a");
		await started.operator.json("/v1/tenants/default", { method: "POST", body: "{}" });
		victim = { client: started.client, node: started.node };
		await started.client.ask("/v1/secrets/dev-store", { method: "PUT", body: secret(started.node.store) });
		await deployProbe(victim, { name: "probe", isolation });
	},
	{ development: false },
);

function secret(store: Tenant["node"]["store"]): string {
	const { endpoint = "", region = "", accessKey = "", secretKey = "" } = store ?? {};
	return JSON.stringify({ kind: "s3", endpoint, region, access_key: accessKey, secret_key: secretKey });
}

let fake: ChildProcess | undefined;
afterEach(async () => {
	if (fake?.exitCode !== null) return;
	const exited = once(fake, "exit");
	fake.kill("SIGKILL");
	await exited;
});

/** Puts a program of the runner's own user in the place of the spare runner, as one that took it over could. The runner's number. */
async function takeOver(attack: string): Promise<string> {
	const { run } = node().node;
	const number = await until("a spare runner", 10_000, async () => {
		const spare = (await runnerProcesses(run)).find(({ slot, state }) => slot === null && state === "ready");
		return spare?.cgroup.split("runner-").at(-1);
	});
	const cwd = join(run, "runner", number);
	const program = await readFile(join(import.meta.dirname, "../harness/compromised-runner.py"), "utf8");
	await rm(join(cwd, "runner.sock"));
	// The folder is the runner's own.
	const { uid, gid } = await stat(cwd);
	fake = spawn("python3", ["-c", program, attack], {
		cwd,
		uid,
		gid,
		stdio: ["ignore", "pipe", "inherit"],
	});
	await once(fake.stdout ?? fake, "data");
	return number;
}

const download = { script: [["get", "inputs", "a"]], app: [["download", "inputs", "a"]] };

/** What the attack's connection ends with; undefined where it may go on, slowed down. */
const attacks: [attack: string, end: RegExp | undefined][] = [
	["questions", /calls (in flight|that are not finished with)/],
	["messages", undefined],
	["answers", /an answer to question 12345, which is not open/],
	["huge", /a message of \d+ bytes, more than 2097152/],
	["segments", /a message of \d+ segments/],
	["malformed", /a malformed message/],
	["unknown", /of an unknown kind/],
	["torn", /ended within a message/],
	["deep", undefined],
	["garbage", /segments|bytes|malformed/],
	["silent", undefined],
];

test.each(attacks)("attack by %s", async (attack, end) => {
	const number = await takeOver(attack);
	const name = `evil-${attack}`;
	const { token } = await node().operator.json<{ token: string }>(`/v1/tenants/${name}`, {
		method: "POST",
		body: "{}",
	});
	const evil = { client: node().of(token), node: node().node };
	await evil.client.ask("/v1/secrets/dev-store", { method: "PUT", body: secret(evil.node.store) });
	// Its deployment is what makes the host speak to the runner; it may wait until the tenant is removed.
	let attacked = false;
	const deployed = deployProbe(evil, { name: "probe", isolation }).then(
		() => "deployed",
		(error: Error) => {
			attacked = true;
			return error.message;
		},
	);
	const times: number[] = [];
	for (let round = 0; round < 6; round++) {
		const began = performance.now();
		const { status, steps, instance } = await invoke(victim, "probe", download, "cold=1");
		times.push(performance.now() - began);
		expect({ status, steps }).toMatchObject({ status: 200, steps: [{ head: "contents of a" }] });
		expect((await node().ended(instance)).script).toEqual({ end: "exit 0" });
	}
	expect(Math.max(...times)).toBeLessThan(2_000);
	if (end !== undefined) {
		await until("the line in the log", 10_000, async () => {
			const lines = await (await node().operator.ask("/v1/logs")).text();
			return (
				lines
					.split("\n")
					.some((line) => line.includes(`runner ${number}: relay: connection ended`) && end.test(line)) ||
				undefined
			);
		});
		expect(await deployed).toMatch(/runner/);
		expect(attacked).toBe(true);
	}
	await node().operator.ask(`/v1/tenants/${name}`, { method: "DELETE" });
	expect(await deployed).not.toBe("deployed");
});
