import { mkdir, mkdtemp, readdir, realpath, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { checkMachine, judgeRunsc, lackingControllers, node } from "./checks.ts";
import { findLeaks, parseInventory, parseMounts } from "./leaks.ts";
import { nodeTag } from "./tag.ts";

test("an old runsc is told with how to replace it", () => {
	expect(judgeRunsc("runsc version 0.0~20221219.0\nspec: 1.0.2\n")).toMatchObject({
		state: "missing",
		found: "0.0~20221219.0 is too old",
		mend: expect.stringContaining("setup/runsc.sh"),
	});
	expect(judgeRunsc("runsc version 0.0~20240729.0\nspec: 1.1.0-rc.1\n").state).toBe("ok");
	expect(judgeRunsc(undefined).state).toBe("missing");
});

test("an old Node is told", () => {
	expect(["20.20.2", "22.17.1", "22.18.0", "24.0.0"].map((version) => node(version).state)).toEqual([
		"missing",
		"missing",
		"ok",
		"ok",
	]);
});

test("controllers may be in either version of cgroups", () => {
	expect(
		lackingControllers("cgroup /c cgroup rw,memory 0 0\ncgroup /d cgroup rw,cpu,cpuacct 0 0\n", ""),
	).toEqual(["pids"]);
	expect(lackingControllers("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n", "cpu io memory pids\n")).toEqual([]);
});

test("each check says how to mend what it misses", async () => {
	for (const check of await checkMachine()) {
		if (check.state !== "ok") expect(check.mend).toBeTruthy();
	}
});

test("without its tools on PATH a machine is told what to install", async () => {
	vi.stubEnv("PATH", "/nowhere");
	const missing = (await checkMachine()).filter(({ state }) => state === "missing");
	vi.unstubAllEnvs();
	expect(missing.map(({ name, mend }) => [name, mend])).toEqual(
		expect.arrayContaining([
			["setpriv", "apt-get install util-linux"],
			["clang", "apt-get install clang"],
			["wasm-ld", "apt-get install lld"],
		]),
	);
});

test("tags are those of the bridge", () => {
	expect(nodeTag("/run/headstart")).toMatch(/^[0-9a-f]{5}$/);
	expect(nodeTag("")).toBe(
		((0xcbf29ce484222325n ^ (0xcbf29ce484222325n >> 20n) ^ (0xcbf29ce484222325n >> 40n)) & 0xfffffn)
			.toString(16)
			.padStart(5, "0"),
	);
});

test("mount points with spaces", () => {
	expect(parseMounts("36 35 98:0 / /state/with\\040space rw - ext4 /dev/root rw\n")).toEqual([
		"/state/with space",
	]);
});

let run: string;
let state: string;

beforeEach(async () => {
	run = await mkdtemp(join(tmpdir(), "hs-run-"));
	state = await mkdtemp(join(tmpdir(), "hs-state-"));
	await mkdir(join(run, "instances/i-live"), { recursive: true });
	await mkdir(join(run, "instances/i-gone"), { recursive: true });
	await mkdir(join(state, "sandboxes/i-gone"), { recursive: true });
});

afterEach(async () => {
	await rm(run, { recursive: true });
	await rm(state, { recursive: true });
});

test("what no live instance owns is a leak", async () => {
	const bridge = createServer((_request, response) =>
		response.end(JSON.stringify({ instances: [{ id: "i-live", pids: [1] }], sandboxes: { mounts: [] } })),
	);
	await new Promise<void>((resolve) => bridge.listen(join(run, "bridge.sock"), resolve));
	try {
		expect(await findLeaks(run, state)).toEqual([
			{ kind: "socket", name: join(run, "instances/i-gone") },
			{ kind: "sandbox", name: join(state, "sandboxes/i-gone") },
		]);
	} finally {
		bridge.close();
	}
});

test("a shared file is an instance's, or kept ready by the bridge", async () => {
	const folder = `/dev/shm/headstart-${nodeTag(await realpath(run))}`;
	await mkdir(folder);
	for (const name of ["i-live.0", "i-gone.1", "ready.2"]) await writeFile(join(folder, name), "");
	const bridge = createServer((_request, response) =>
		response.end(JSON.stringify({ pid: 1, instances: [{ id: "i-live" }] })),
	);
	await new Promise<void>((resolve) => bridge.listen(join(run, "bridge.sock"), resolve));
	const files = async (): Promise<string[]> =>
		(await findLeaks(run, state)).filter(({ kind }) => kind === "file").map(({ name }) => name);
	try {
		expect(await files()).toEqual([join(folder, "i-gone.1")]);
	} finally {
		bridge.close();
	}
	expect(await files()).toHaveLength(3);
	for (const name of await readdir(folder)) await rm(join(folder, name));
	expect(await files()).toEqual([folder]);
	await rm(folder, { recursive: true });
});

test("without a bridge nothing is owned, and without a node there is nothing", async () => {
	expect(await findLeaks(run, state)).toHaveLength(3);
	expect(await findLeaks("/nowhere/run", "/nowhere/state")).toEqual([]);
});

test("the inventory may nest as it likes", () => {
	const owned = parseInventory({
		runners: [{ pid: 7, cgroup: "headstart/x/runner-1" }],
		sandboxes: [{ id: "i-a", pids: [1, 2], cgroup: "headstart/x/i-a" }],
	});
	expect([...owned.pids]).toEqual([7, 1, 2]);
	expect([...owned.cgroups]).toEqual(["headstart/x/runner-1", "headstart/x/i-a"]);
});
