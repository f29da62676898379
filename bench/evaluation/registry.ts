/** A registry of images for benchmarks. What was pushed stays for the next run. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { freePort, until } from "../../src/cli/node/wait.ts";
import { built } from "../../src/cli/paths.ts";

export interface Registry {
	/** "127.0.0.1:port": the registry itself. */
	address: string;
	/** Its own file of a blob, by the hex digits of the digest. */
	blob(digest: string): string;
	stop(): Promise<void>;
}

/** Where the benchmark keeps what it makes at its first use. */
export const CACHE = join(built, "bench");

/** Starts Debian's docker-registry, without TLS, on a free port of loopback. */
export async function startRegistry(): Promise<Registry> {
	const folder = join(CACHE, "registry");
	await mkdir(folder, { recursive: true });
	const address = `127.0.0.1:${await freePort(0)}`;
	const config = join(folder, "config.json");
	const data = { rootdirectory: join(folder, "data") };
	const storage = { filesystem: data, cache: { blobdescriptor: "inmemory" } };
	const log = { level: "error", accesslog: { disabled: true } };
	await writeFile(config, JSON.stringify({ version: "0.1", log, storage, http: { addr: address } }));
	// Not at the lowest priority, as the links before it are: it would wait for a CPU where an initscript's download takes 2 ms.
	const args = ["--pdeathsig", "KILL", "--", "docker-registry", "serve", config];
	// And on one thread: to hand a request from one to the other wakes a CPU that is asleep, or takes one from the node.
	const env = { ...process.env, GOMAXPROCS: "1" };
	const child = spawn("setpriv", args, { stdio: "ignore", detached: true, env });
	const ended = once(child, "exit");
	const stop = async (): Promise<void> => {
		child.kill("SIGTERM");
		await ended;
	};
	try {
		await until("docker-registry", 20_000, async () => {
			const answer = await fetch(`http://${address}/v2/`, { signal: AbortSignal.timeout(2_000) });
			await answer.arrayBuffer();
			return answer.ok || undefined;
		});
	} catch (error) {
		await stop();
		throw error;
	}
	const blobs = join(data.rootdirectory, "docker/registry/v2/blobs/sha256");
	return { address, blob: (digest) => join(blobs, digest.slice(0, 2), digest, "data"), stop };
}
