import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, until } from "../../src/cli/node/wait.ts";

/** The set-up's moto (setup/steps/moto.ts). */
const MOTO = join(import.meta.dirname, "../../.headstart/moto");

/** A server of another project, on a free port of loopback. */
export interface Server {
	port: number;
	stop(): Promise<void>;
}

export function redis(password: string): Promise<Server> {
	return start("redis-server", (port, folder) => {
		const where = ["--port", `${port}`, "--bind", "127.0.0.1", "--dir", folder];
		return [...where, "--save", "", "--requirepass", password];
	});
}

export function memcached(): Promise<Server> {
	return start("memcached", (port) => ["-p", `${port}`, "-U", "0", "-l", "127.0.0.1", "-u", "root"]);
}

export async function etcd(): Promise<Server> {
	const peer = `http://127.0.0.1:${await freePort(0)}`;
	return start("etcd", (port, folder) => {
		const client = `http://127.0.0.1:${port}`;
		const listen = ["--listen-client-urls", client, "--advertise-client-urls", client];
		const peers = ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer];
		return [...listen, ...peers, "--initial-cluster", `default=${peer}`, "--data-dir", join(folder, "data")];
	});
}

/** A registry of images, without TLS. */
export function registry(): Promise<Server> {
	return start("docker-registry", async (port, folder) => {
		const config = join(folder, "config.yml");
		const storage = { filesystem: { rootdirectory: join(folder, "data") } };
		const http = { addr: `127.0.0.1:${port}` };
		await writeFile(config, JSON.stringify({ version: "0.1", log: { level: "error" }, storage, http }));
		return ["serve", config];
	});
}

/** SQS, with a queue in which there is one task. */
export async function sqs(queue: string, task: string): Promise<Server> {
	const server = await start(
		"/usr/bin/python3",
		(port) => ["-m", "moto.server", "-H", "127.0.0.1", "-p", `${port}`],
		{ PYTHONPATH: MOTO },
	);
	const url = `http://127.0.0.1:${server.port}`;
	await act(url, "CreateQueue", { QueueName: queue });
	await act(url, "SendMessage", { QueueUrl: `${url}/123456789012/${queue}`, MessageBody: task });
	return server;
}

/** Does an action of SQS. moto knows the service by the signature's scope, and checks no more of it. */
async function act(url: string, action: string, members: Record<string, string>): Promise<void> {
	const scope = "Credential=test/20260101/us-east-1/sqs/aws4_request";
	const headers = {
		"content-type": "application/x-amz-json-1.0",
		"x-amz-target": `AmazonSQS.${action}`,
		authorization: `AWS4-HMAC-SHA256 ${scope},SignedHeaders=host,Signature=x`,
	};
	const answer = await fetch(url, { method: "POST", headers, body: JSON.stringify(members) });
	if (!answer.ok) throw new Error(`${action}: ${await answer.text()}`);
}

async function start(
	program: string,
	args: (port: number, folder: string) => string[] | Promise<string[]>,
	env: Record<string, string> = {},
): Promise<Server> {
	const folder = await mkdtemp(join(tmpdir(), "hst-server-"));
	const port = await freePort(0);
	const given = await args(port, folder);
	const child = spawn("setpriv", ["--pdeathsig", "KILL", "--", program, ...given], {
		stdio: "ignore",
		env: { ...process.env, ...env },
	});
	const ended = once(child, "exit");
	const stop = async (): Promise<void> => {
		child.kill("SIGKILL");
		await ended;
		await rm(folder, { recursive: true, force: true });
	};
	try {
		await until(program, 20_000, async () => (await listens(port)) || undefined);
	} catch (error) {
		await stop();
		throw error;
	}
	return { port, stop };
}

function listens(port: number): Promise<boolean> {
	return new Promise((resolve) => {
		const socket = connect(port, "127.0.0.1");
		socket.on("connect", () => resolve(true)).on("error", () => resolve(false));
		socket.on("connect", () => socket.destroy());
	});
}
