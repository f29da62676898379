import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { inRoot } from "../../src/cli/paths.ts";
import { useNode } from "../harness/suite.ts";

const node = useNode(async (node) => {
	await node.put("inputs", "chelsea.png", Buffer.alloc(1000));
});

let folder: string;

beforeAll(async () => {
	folder = await mkdtemp(join(tmpdir(), "hst-cli-"));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

/** Runs the command line against the node. */
function headstart(...args: string[]): Promise<{ status: number; stdout: string; stderr: string }> {
	const env = { ...process.env, HEADSTART_NODE: node().node.url };
	return new Promise((resolve) => {
		execFile(inRoot("bin/headstart"), args, { env }, (error, stdout, stderr) => {
			resolve({ status: typeof error?.code === "number" ? error.code : 0, stdout, stderr });
		});
	});
}

test("init, deploy, invoke, trace, logs", async () => {
	const app = join(folder, "hello");
	expect(await headstart("init", app)).toMatchObject({ status: 0 });
	expect((await headstart("deploy", app)).stdout).toMatch(
		/^hello: .* of files, initscript .* \(typescript\)\n$/,
	);
	const invoked = await headstart("invoke", "hello", "--cold", "--json", "--data", '{"name": "you"}');
	const { status, instance, answer } = JSON.parse(invoked.stdout);
	expect({ status, answer }).toEqual({ status: 200, answer: { hello: "you", photo_bytes: 1000 } });
	await node().ended(instance);
	expect((await headstart("trace", instance)).stdout).toContain("critical path");
	const trace = JSON.parse((await headstart("trace", "--json")).stdout);
	expect(trace.spans.map(({ name }: { name: string }) => name)).toContain("GET s3://inputs/chelsea.png");
	expect((await headstart("logs", "--json")).status).toBe(0);
});

test("a deployment is described by what changed: the same files are not sent again", async () => {
	expect((await headstart("deploy", join(folder, "hello"))).stdout).toContain("(already there)");
});

test("an unknown key is told with the nearest one", async () => {
	const path = join(folder, "hello/headstart.toml");
	const text = await readFile(path, "utf8");
	await writeFile(path, text.replace("on_failure", "on_failre"));
	const { status, stderr } = await headstart("deploy", join(folder, "hello"));
	await writeFile(path, text);
	expect(status).toBe(1);
	expect(stderr).toMatch(/^headstart: .*on_failre.*on_failure.*\n$/);
});

test("an initscript that does not compile is told, and nothing is deployed", async () => {
	const path = join(folder, "hello/initscript.ts");
	const text = await readFile(path, "utf8");
	await writeFile(path, "export default function main( {}");
	const { status, stderr } = await headstart("deploy", join(folder, "hello"));
	await writeFile(path, text);
	expect(status).toBe(1);
	expect(stderr).toContain("initscript.ts");
});

test("a second node on the directory and a taken port are one line each", async () => {
	const { run, url } = node().node;
	const second = await headstart("node", "--run", run, "--state", join(folder, "s"), "--port", "0");
	expect(second.status).toBe(1);
	expect(second.stderr).toMatch(/^headstart: another node uses .*\n$/);
	const { port } = new URL(url);
	const taken = await headstart(
		"node",
		"--run",
		join(folder, "r"),
		"--state",
		join(folder, "s"),
		"--port",
		port,
	);
	expect(taken.stderr).toMatch(/^headstart: port \d+ is taken: .*\n$/);
});

test("no node, no function, no instance are one line each", async () => {
	const away = await headstart("invoke", "hello", "--node", "http://127.0.0.1:59999");
	expect(away.stderr).toMatch(/^headstart: no node answers at .*headstart node.*\n$/);
	expect((await headstart("invoke", "nobody")).stderr).toMatch(/^headstart: .*unknownFunction.*\n$/);
	expect((await headstart("trace", "i-nothing")).stderr).toMatch(/^headstart: .*unknownInstance.*\n$/);
});

test("doctor finds nothing missing, and nothing left", async () => {
	const checks = JSON.parse((await headstart("doctor", "--json")).stdout);
	expect(checks.filter(({ state }: { state: string }) => state === "missing")).toEqual([]);
	await node().leaks();
	const { run, state } = node().node;
	const leaks = await headstart("doctor", "--leaks", "--json", "--run", run, "--state", state);
	expect(JSON.parse(leaks.stdout)).toEqual([]);
});
