/** Unmodified programs whose connect() gets what the initscript handed over: redis-cli, curl and Python's own sockets. */
import { createServer, type Server } from "node:http";
import { afterAll, describe, expect, test } from "vitest";
import { LineServer } from "../harness/line-server.ts";
import { deployPreload } from "../harness/preload.ts";
import { type Isolation, invoke } from "../harness/probe.ts";
import { redis, type Server as Started } from "../harness/servers.ts";
import { useNode } from "../harness/suite.ts";

const HOST = "10.213.255.1";
const isolations: Isolation[] = ["bubblewrap", "gvisor"];
const lines = new LineServer();

let cache: Started | undefined;
let web: Server | undefined;
let webPort = 0;
/** Connections that the web server has had. */
let webConnections = 0;

/** The line server by a name that the sandbox's /etc/hosts has. */
function local(): string {
	return lines.address.replace(HOST, "localhost");
}

/** Redis, which wants the password that only the initscript has. */
function redisAddress(): string {
	return `redis://127.0.0.1:${cache?.port ?? 0}`;
}

async function startServers(): Promise<void> {
	await lines.listen();
	cache = await redis("secret");
	web = createServer((request, answer) => answer.end(`you asked for ${request.url}\n`));
	web.on("connection", () => webConnections++);
	await new Promise<void>((resolve) => web?.listen(0, "0.0.0.0", resolve));
	const address = web.address();
	webPort = typeof address === "object" && address ? address.port : 0;
}

const node = useNode(async (node) => {
	await startServers();
	const addresses = [
		redisAddress(),
		`tcp://${HOST}:${webPort}`,
		lines.address,
		local(),
		// A name that is nowhere: what stands for it is all that there is.
		"tcp://nowhere.test:4000",
	];
	for (const isolation of isolations) await deployPreload(node, isolation, addresses);
});

afterAll(async () => {
	await cache?.stop();
	web?.closeAllConnections();
	await new Promise((resolve) => web?.close(resolve));
	await lines.close();
});

describe.each(isolations)("in %s", (name) => {
	/** Has the application run programs, and the initscript hand connections over. */
	const run = async (app: unknown[][], transfer: string[]): Promise<unknown[]> => {
		const script = [["expect", transfer.length], ...transfer.map((address) => ["transfer", address])];
		return (await invoke(node(), name, { app, script })).steps;
	};

	test("redis-cli speaks on the connection that its initscript opened, and logged in", async () => {
		const steps = await run(
			[["run", "redis-cli", "-h", "127.0.0.1", "-p", String(cache?.port), "CLIENT", "GETNAME"]],
			[redisAddress()],
		);
		expect(steps).toEqual([{ status: 0, out: "script\n", err: "" }]);
	});

	test("curl fetches over it, and says whom it speaks to", async () => {
		const before = webConnections;
		const url = `http://${HOST}:${webPort}/page`;
		const steps = await run(
			[["run", "curl", "-sS", "--max-time", "5", "-w", "%{remote_ip} %{http_code}", url]],
			[`tcp://${HOST}:${webPort}!`],
		);
		expect(steps).toEqual([{ status: 0, out: `you asked for /page\n${HOST} 200`, err: "" }]);
		expect(webConnections - before).toBe(1);
	});

	test.each(["blocking", "nonblocking", "asyncio"])("Python's %s sockets", async (how) => {
		const [, port = ""] = /:(\d+)$/.exec(lines.address) ?? [];
		const steps = await run([["run", "python3", "sockets.py", how, HOST, port]], [lines.address]);
		const out = `2 hello\npeer ${HOST}:${port}\nerror 0 nodelay 1 AF_INET SOCK_STREAM 6\n`;
		expect(steps).toEqual([{ status: 0, out, err: "" }]);
	});

	test("sockets of IPv6 that connect to IPv4", async () => {
		const [, port = ""] = /:(\d+)$/.exec(lines.address) ?? [];
		const steps = await run([["run", "python3", "sockets.py", "mapped", HOST, port]], [lines.address]);
		const out = `2 hello\npeer ::ffff:${HOST}:${port}\nerror 0 nodelay 1 AF_INET6 SOCK_STREAM 6\n`;
		expect(steps).toEqual([{ status: 0, out, err: "" }]);
	});

	test("each connection is taken once, and then the network is what it is", async () => {
		const [, port = ""] = /:(\d+)$/.exec(lines.address) ?? [];
		const twice = ["run", "python3", "sockets.py", "twice", HOST, port];
		const steps = await run([twice], [lines.address, `${lines.address}#2`]);
		// The application itself has no network.
		expect(steps).toEqual([{ status: 0, out: "2 a\n2 b\nOSError\n", err: "" }]);
	});

	test("names need no network: those of the list are there", async () => {
		const [, port = ""] = /:(\d+)$/.exec(lines.address) ?? [];
		const look =
			"import socket; print(socket.getaddrinfo('nowhere.test', 4000, type=socket.SOCK_STREAM)[0][4])";
		const steps = await run(
			[
				["run", "python3", "sockets.py", "blocking", "localhost", port],
				["run", "python3", "-c", look],
				["run", "python3", "-c", look.replace("nowhere", "elsewhere")],
			],
			[local()],
		);
		expect(steps).toMatchObject([
			{ status: 0, out: expect.stringMatching(/^2 hello\npeer 127.0.0.1:/) },
			{ status: 0, out: "('127.77.0.5', 4000)\n" },
			{ status: 1 },
		]);
	});

	test("a program without a handed-over connection is let alone: here, it has no network", async () => {
		const before = webConnections;
		const url = `http://${HOST}:${webPort}/`;
		const steps = await run([["run", "curl", "-sS", "--max-time", "1", url]], []);
		expect(steps).toMatchObject([{ status: 28, out: "" }]);
		expect(webConnections).toBe(before);
	});
});
