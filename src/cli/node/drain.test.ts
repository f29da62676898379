import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, expect, test } from "vitest";
import { NodeClient } from "../client.ts";
import { findLeaks } from "../doctor/leaks.ts";
import { inRoot } from "../paths.ts";
import { startNode } from "./node.ts";
import { deploySlow, running } from "./slow-function.ts";
import { until } from "./wait.ts";

const TIMEOUT = 60_000;

let folder: string;
let run: string;
let state: string;

beforeEach(async () => {
	folder = await mkdtemp(join(tmpdir(), "hs-drain-"));
	[run, state] = [join(folder, "run"), join(folder, "state")];
});

afterEach(async () => {
	expect(await findLeaks(run, state)).toEqual([]);
	await rm(folder, { recursive: true, force: true });
});

function post(client: NodeClient): Promise<Response> {
	return client.send("/v1/functions/slow/invocations", { method: "POST", body: "{}" });
}

/** Deploys a function that takes 3 s and invokes it; resolves when the instance runs. */
async function invoke(url: string): Promise<{ client: NodeClient; answer: Promise<Response> }> {
	const client = new NodeClient(url);
	await deploySlow(folder, client, 3);
	const answer = post(client);
	await running(client);
	return { client, answer };
}

test("a node that stops refuses new invocations and answers the running one", {
	timeout: TIMEOUT,
}, async () => {
	const lines: string[] = [];
	const sink = (from: string, line: string): void => void lines.push(`${from}: ${line}`);
	const node = await startNode({ run, state, port: 0, development: true, sink });
	try {
		const { client, answer } = await invoke(node.url);
		const stopped = node.stop();
		await until("the drain", 2_000, async () => lines.some((line) => line.includes("draining")) || undefined);
		const refused = await post(client);
		expect(refused.status).toBe(503);
		expect(await refused.json()).toMatchObject({ code: "nodeDraining" });
		expect(await (await answer).text()).toBe("done");
		await stopped;
		expect(lines.filter((line) => line.includes("starting it again"))).toEqual([]);
	} finally {
		await node.stop();
	}
});

test("Ctrl-C, which reaches the whole process group, does the same", { timeout: TIMEOUT }, async () => {
	const args = ["node", "--dev", "--run", run, "--state", state, "--port", "0", "--json"];
	// Leads a process group of its own, as a shell's jobs do.
	const headstart = spawn(inRoot("bin/headstart"), args, {
		detached: true,
		stdio: ["ignore", "pipe", "pipe"],
	});
	const ended = once(headstart, "exit");
	const errors = collect(headstart);
	try {
		const [line] = await once(createInterface(headstart.stdout), "line");
		const ready = JSON.parse(String(line));
		expect(ready).toEqual({ access: "development", url: expect.any(String), pid: headstart.pid, run, state });
		const { answer } = await invoke(ready.url);
		process.kill(-(headstart.pid ?? 0), "SIGINT");
		expect(await (await answer).text()).toBe("done");
		expect(await ended).toEqual([0, null]);
		expect(errors.join("\n")).toContain("SIGINT: stopping");
		expect(errors.filter((error) => error.includes("starting it again"))).toEqual([]);
	} finally {
		headstart.kill("SIGTERM");
		await ended;
	}
});

function collect({ stderr }: ChildProcess): string[] {
	const lines: string[] = [];
	if (stderr) createInterface(stderr).on("line", (line) => lines.push(line));
	return lines;
}
