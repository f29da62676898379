import { once } from "node:events";
import { readFile, realpath, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { CliError, systemCode } from "../errors.ts";

/** What `RUN/node.json` says of the node that uses the directory. */
export interface NodeRecord {
	pid: number;
	url: string;
	state: string;
}

/**
 * Makes this process the only node on a run directory, until it ends or closes the server. The lock is an abstract unix
 * socket, so the kernel drops it with the process, whatever ends that.
 */
export async function lockNode(run: string): Promise<Server> {
	const server = createServer((socket) => socket.destroy());
	server.listen(`\0headstart-node:${await realpath(run)}`);
	try {
		await once(server, "listening");
	} catch (error) {
		if (systemCode(error) !== "EADDRINUSE") throw error;
		const other = await readNode(run);
		const who = other ? ` (pid ${other.pid}, ${other.url})` : "";
		throw new CliError(`another node uses ${run}${who}`, "stop it, or choose another directory with --run");
	}
	server.unref();
	return server;
}

/** Says in the run directory who uses it. */
export async function recordNode(run: string, record: NodeRecord): Promise<void> {
	await writeFile(join(run, "node.json"), `${JSON.stringify(record)}\n`, { mode: 0o600 });
}

/** The record of the node that uses, or last used, a run directory. */
export async function readNode(run: string): Promise<NodeRecord | undefined> {
	try {
		return JSON.parse(await readFile(join(run, "node.json"), "utf8"));
	} catch {
		return undefined;
	}
}
