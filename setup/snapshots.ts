/**
 * Makes the snapshots that apps/memcached and apps/etcd start from, with the real servers and the same content each time:
 * `setup/snapshots.ts DIR [--small]`. Only tests and benchmarks need them.
 */
import { execFile, spawn } from "node:child_process";
import { createCipheriv } from "node:crypto";
import { once } from "node:events";
import { mkdir, mkdtemp, rename, rm, stat } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { freePort, until } from "../src/cli/node/wait.ts";

/** How long a server may take to listen. */
const LISTENS = 20_000;
/** Bytes of each value: 94 of them fill a page of memcached's memory, of 1 MiB, nearly whole. */
const VALUE = 11_000;
const PER_PAGE = 94;
/** Pages that memcached takes at its start, one for each size of value. */
const OTHER_PAGES = 40;
/** Puts of one transaction of etcd's, which takes 1.5 MiB in base64. */
const PUTS = 64;

/** What the paper's evaluation restores. */
export const FULL = { memcachedMegabytes: 200, etcdValues: 1130 };
/** memcached takes no less than 40 MiB for this. */
export const SMALL = { memcachedMegabytes: 48, etcdValues: 50 };

/** Keys of a snapshot are `key-0`, `key-1`, … */
export const keyOf = (number: number): string => `key-${number}`;

/** The value of a key: the same in each snapshot, and as if at random. */
export function snapshotValue(number: number): Buffer {
	const iv = Buffer.alloc(16);
	iv.writeUInt32BE(number);
	const text = createCipheriv("aes-128-ctr", Buffer.alloc(16, 7), iv).update(Buffer.alloc((VALUE * 3) / 4));
	return Buffer.from(text.toString("base64"));
}

/** How many keys a memcached of `-m megabytes` has: as many as there is room for. */
export const memcachedKeys = (megabytes: number): number => (megabytes - OTHER_PAGES) * PER_PAGE;

/**
 * Fills a memcached and stops it, so that it writes `memcached` and `memcached.meta` into the folder. It restarts from them with
 * `-m megabytes`.
 */
export async function makeMemcached(folder: string, megabytes: number): Promise<void> {
	await mkdir(folder, { recursive: true });
	const work = await mkdtemp(join("/dev/shm", "hs-snapshot-"));
	const memory = join(work, "memory");
	const port = await freePort(0);
	const options = [
		"-u",
		"root",
		"-l",
		"127.0.0.1",
		"-U",
		"0",
		"-p",
		`${port}`,
		"-m",
		`${megabytes}`,
		"-e",
		memory,
	];
	const child = spawn("setpriv", ["--pdeathsig", "KILL", "--", "memcached", ...options], { stdio: "ignore" });
	const ended = once(child, "exit");
	try {
		const socket = await until("memcached", LISTENS, () => open(port));
		const keys = memcachedKeys(megabytes);
		for (let number = 0; number < keys; number++) {
			const value = snapshotValue(number);
			socket.write(`set ${keyOf(number)} 0 0 ${value.length} noreply\r\n`);
			if (!socket.write(Buffer.concat([value, Buffer.from("\r\n")]))) await once(socket, "drain");
		}
		socket.write("stats\r\n");
		let said = "";
		for await (const piece of socket) {
			said += String(piece);
			if (said.endsWith("END\r\n")) break;
		}
		if (!said.includes(`curr_items ${keys}\r`)) throw new Error(`memcached has not kept its ${keys} keys`);
		child.kill("SIGUSR1");
		await ended;
		// It refuses to restart from what it says it has written in the future, and its clock goes by whole seconds.
		await sleep(2000);
		for (const [from, to] of [
			[memory, "memcached"],
			[`${memory}.meta`, "memcached.meta"],
		] as const) {
			await promisify(execFile)("cp", ["--sparse=never", from, join(folder, `.${to}`)]);
			await rename(join(folder, `.${to}`), join(folder, to));
		}
	} finally {
		child.kill("SIGKILL");
		await rm(work, { recursive: true, force: true });
	}
}

/** Fills an etcd with so many values and saves its snapshot as `etcd` in the folder. Gives the snapshot's bytes. */
export async function makeEtcd(folder: string, values: number): Promise<number> {
	await mkdir(folder, { recursive: true });
	const work = await mkdtemp(join(tmpdir(), "hs-snapshot-"));
	const [client, peer] = [`http://127.0.0.1:${await freePort(0)}`, `http://127.0.0.1:${await freePort(0)}`];
	const listen = ["--listen-client-urls", client, "--advertise-client-urls", client];
	const peers = ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer];
	const cluster = ["--initial-cluster", `default=${peer}`, "--data-dir", join(work, "data")];
	const all = ["--pdeathsig", "KILL", "--", "etcd", ...listen, ...peers, ...cluster];
	const child = spawn("setpriv", all, { stdio: "ignore" });
	const ended = once(child, "exit");
	try {
		await until("etcd", LISTENS, async () => (await isHealthy(client)) || undefined);
		for (let first = 0; first < values; first += PUTS) {
			const success = Array.from({ length: Math.min(PUTS, values - first) }, (_, at) => ({
				requestPut: { key: base64(keyOf(first + at)), value: snapshotValue(first + at).toString("base64") },
			}));
			const answer = await fetch(`${client}/v3/kv/txn`, {
				method: "POST",
				body: JSON.stringify({ success }),
			});
			if (!answer.ok) throw new Error(`etcd said ${answer.status} ${await answer.text()}`);
		}
		const file = join(folder, "etcd");
		await promisify(execFile)("etcdctl", ["--endpoints", client, "snapshot", "save", file], {
			env: { ...process.env, ETCDCTL_API: "3" },
		});
		return (await stat(file)).size;
	} finally {
		child.kill("SIGKILL");
		await ended;
		await rm(work, { recursive: true, force: true });
	}
}

/** The value that a memcached at "host:port" has under a key. */
export async function askMemcached(address: string, key: string): Promise<string> {
	const [host = "", port = ""] = address.split(":");
	const socket = connect(Number(port), host);
	try {
		socket.write(`get ${key}\r\n`);
		let said = "";
		for await (const piece of socket) {
			said += String(piece);
			if (said.endsWith("END\r\n")) break;
		}
		return said.split("\r\n")[1] ?? "";
	} finally {
		socket.destroy();
	}
}

/** The value that an etcd at "host:port" has under a key. */
export async function askEtcd(address: string, key: string): Promise<string> {
	const body = JSON.stringify({ key: base64(key) });
	const signal = AbortSignal.timeout(LISTENS);
	const answer = await fetch(`http://${address}/v3/kv/range`, { method: "POST", body, signal });
	const { kvs = [] } = (await answer.json()) as { kvs?: { value?: string }[] };
	return Buffer.from(kvs[0]?.value ?? "", "base64").toString();
}

const base64 = (text: string): string => Buffer.from(text).toString("base64");

async function isHealthy(client: string): Promise<boolean> {
	try {
		return (await (await fetch(`${client}/health`)).text()).includes('"true"');
	} catch {
		return false;
	}
}

/** A connection, once somebody listens. */
function open(port: number): Promise<Socket | undefined> {
	return new Promise((resolve) => {
		const socket = connect(port, "127.0.0.1");
		socket.on("connect", () => resolve(socket)).on("error", () => resolve(undefined));
	});
}

if (import.meta.main) {
	const [folder, size] = process.argv.slice(2);
	if (folder === undefined || (size !== undefined && size !== "--small")) {
		process.stderr.write("usage: setup/snapshots.ts DIR [--small]\n");
		process.exit(2);
	}
	const { memcachedMegabytes, etcdValues } = size === "--small" ? SMALL : FULL;
	await makeMemcached(folder, memcachedMegabytes);
	const bytes = await makeEtcd(folder, etcdValues);
	process.stderr.write(`memcached ${memcachedMegabytes} MiB, etcd ${bytes} bytes\n`);
}
