import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, until } from "../../src/cli/node/wait.ts";

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

async function start(
	program: string,
	args: (port: number, folder: string) => string[] | Promise<string[]>,
): Promise<Server> {
	const folder = await mkdtemp(join(tmpdir(), "hst-server-"));
	const port = await freePort(0);
	const given = await args(port, folder);
	const child = spawn("setpriv", ["--pdeathsig", "KILL", "--", program, ...given], { stdio: "ignore" });
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
