import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "smol-toml";
import { afterAll, expect, test } from "vitest";
import { deploy } from "../../src/cli/deploy/deploy.ts";
import { buildImage } from "../../src/cli/image/build.ts";
import { parseTarget, push } from "../../src/cli/image/push.ts";
import { askSocket, until } from "../../src/cli/node/wait.ts";
import type { InstanceRecord } from "../../src/shared/record.ts";
import { HeldRegistry } from "../harness/held-registry.ts";
import type { TestNode } from "../harness/node.ts";
import { deployProbe, invoke as invokeProbe, recovers } from "../harness/probe.ts";
import { killOne } from "../harness/processes.ts";
import { registry } from "../harness/servers.ts";
import { useNode } from "../harness/suite.ts";

const server = await registry();
const host = `127.0.0.1:${server.port}`;
const held = await HeldRegistry.before(server);
const work = await mkdtemp(join(tmpdir(), "hst-image-"));
let image = "";

const FUNCTION = `
import os, sys

def handler(event):
    with open("/srv/hello.txt") as file:
        hello = file.read()
    try:
        os.open("/srv/new", os.O_CREAT | os.O_WRONLY)
        written = True
    except OSError:
        written = False
    with open("/var/lib/app/state", "r+b") as file, open("/var/lib/app/beside", "w"):
        file.write(b"new")
    return {
        "state": os.path.getsize("/var/lib/app/state"),
        "hello": hello, "greeting": os.environ["GREETING"], "cwd": os.getcwd(), "own_user": os.getuid() > 65535,
        "written": written, "host": os.path.exists("/usr/bin/gcc"), "python": sys.prefix,
    }
`;

/** In a folder that the image has not. */
const FILES = { "/var/lib/app/state": { size: "1MiB" } };

const node = useNode(
	async (node) => {
		const source = join(work, "image");
		await put(source, "hello.txt", "from the image");
		await put(
			source,
			"headstart-image.toml",
			stringify({
				debian: { packages: ["python3-minimal", "libpython3-stdlib"] },
				files: [{ from: "hello.txt", to: "/srv/hello.txt" }],
				config: { env: { GREETING: "hello", OTHER: "of the image" } },
			}),
		);
		const layout = join(work, "layout");
		const { manifest } = await buildImage(source, layout);
		image = await push(layout, manifest, parseTarget(`${host}/python:small`), true);
		for (const isolation of ["bubblewrap", "gvisor"])
			await deployFunction(node, isolation, `${host}/python:small`);
		await deployProbe(node, { name: "held", isolation: "bubblewrap", image: `${held.host}/python:small` });
	},
	{ images: { registries: [host, held.host].map((host) => ({ host, plain: true })) } },
);

afterAll(async () => {
	await Promise.all([server.stop(), held.stop()]);
	await rm(work, { recursive: true, force: true });
});

async function put(folder: string, name: string, content: string): Promise<void> {
	await mkdir(folder, { recursive: true });
	await writeFile(join(folder, name), content);
}

async function deployFunction({ client }: TestNode, isolation: string, reference: string): Promise<void> {
	const folder = join(work, isolation);
	await put(folder, "function.py", FUNCTION);
	const command = ["python3", "-m", "headstart.runtime", "function:handler"];
	const app = { isolation, image: reference, command, env: { OTHER: "of the function" }, files: FILES };
	await put(folder, "headstart.toml", stringify({ name: `image-${isolation}`, app }));
	await deploy(folder, client);
}

async function invoke(
	isolation: string,
	query: string,
): Promise<{ answer: unknown; record: InstanceRecord }> {
	const path = `/v1/functions/image-${isolation}/invocations${query}`;
	const response = await node().client.ask(path, { method: "POST", body: "{}" });
	const answer: unknown = await response.json();
	return { answer, record: await node().ended(response.headers.get("x-headstart-instance") ?? "") };
}

const kinds = ({ events }: InstanceRecord): string[] => events.map(({ kind }) => kind);

test.each(["bubblewrap", "gvisor"])(
	"a function runs from an image, cold and cached (%s)",
	async (isolation) => {
		const cached = await invoke(isolation, "?cold=1");
		expect(cached.answer).toEqual({
			state: 1 << 20,
			hello: "from the image",
			greeting: "hello",
			cwd: "/app",
			// gVisor's kernel is its own, and its users with it.
			own_user: isolation === "bubblewrap",
			written: false,
			host: false,
			python: "/usr",
		});
		expect(kinds(cached.record)).not.toContain("imagePulled");

		const cold = await invoke(isolation, "?cold=image");
		expect(cold.answer).toEqual(cached.answer);
		const pulled = cold.record.events.find(({ kind }) => kind === "imagePulled");
		expect(pulled).toMatchObject({ content: image, text: "2 layers" });
		expect(pulled?.bytes).toBeGreaterThan(5e6);
		const unpacked = cold.record.events.find(({ kind }) => kind === "imageUnpacked");
		expect(unpacked?.bytes).toBeGreaterThan(2e7);
		expect(kinds((await invoke(isolation, "?cold=1")).record)).not.toContain("imagePulled");
	},
);

test("starts at one time pull once", async () => {
	await invoke("bubblewrap", "?cold=image");
	await drop();
	const starts = await Promise.all([1, 2, 3].map(() => invoke("bubblewrap", "?cold=1")));
	const pulls = starts.flatMap(({ record }) => record.events.filter(({ kind }) => kind === "imagePulled"));
	// Those who waited are told the moment at which it was there, which is one.
	expect(pulls.length).toBeGreaterThan(0);
	expect(new Set(pulls.map(({ at }) => at)).size).toBe(1);
});

test("an instance that is ended in mid-pull leaves nothing of it", async () => {
	await drop();
	const cancel = new AbortController();
	const path = `/v1/functions/image-bubblewrap/invocations?cold=1`;
	const asked = node()
		.client.open(path, { method: "POST", body: Buffer.from("{}"), signal: cancel.signal })
		.catch(() => undefined);
	await until("the pull", 5_000, async () => (await images()).length === 0 || undefined);
	setTimeout(() => cancel.abort(), 60);
	await asked;
	await node().quiet();
	expect((await invoke("bubblewrap", "?cold=1")).record.state).toBe("ended");
});

/** What comes of a death in the middle of a layer's download; an application there is none then. */
const inPull = [
	["runner", { status: 200, steps: [{ head: "said in the end" }] }],
	["bridge", { status: 503, body: { code: "bridgeLost" } }],
] as const;

test.each(inPull)("the %s is killed in the middle of an image's download", async (victim, outcome) => {
	const event = {
		script: [
			["expect", 1],
			["sleep", 500],
			["say", "note", "said in the end"],
		],
		app: [["receive", "note"]],
	};
	const half = held.hold(1_000_000);
	const running = invokeProbe(node(), "held", event, "cold=image");
	await half;
	await killOne(node().node, victim);
	held.letGo();
	expect(await running).toMatchObject(outcome);
	await until("a start with its initscript", 30_000, async () => {
		const { instance, steps } = await recovers(node(), "held", event, "cold=image");
		expect(kinds(await node().ended(instance))).toContain("imagePulled");
		return JSON.stringify(steps).includes("said in the end") || undefined;
	});
	const layers = await readdir(join(node().node.state, "images/layers"));
	expect(layers.filter((name) => name.startsWith("."))).toEqual([]);
	expect(await node().leaks()).toEqual([]);
});

test("what cannot be pulled is told at deploy", async () => {
	const missing = deployFunction(node(), "bubblewrap", `${host}/nothing:here`);
	await expect(missing).rejects.toMatchObject({ message: expect.stringContaining("nothing") });
	const stranger = deployFunction(node(), "bubblewrap", "registry.invalid/python:small");
	await expect(stranger).rejects.toMatchObject({
		message: expect.stringContaining("not one of the node's registries"),
	});
});

async function images(): Promise<unknown[]> {
	const { body } = await askSocket(join(node().node.run, "bridge.sock"), "/images");
	return (JSON.parse(body) as { images: unknown[] }).images;
}

/** Makes the next start pull, by one that has. */
async function drop(): Promise<void> {
	const hex = image.split("@sha256:")[1];
	await until("the image's end", 5_000, async () => {
		const { status } = await askSocket(join(node().node.run, "bridge.sock"), `/images/${hex}`, {
			method: "DELETE",
		});
		return status === 204 || undefined;
	});
}
