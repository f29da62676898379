import { readdirSync, readFileSync } from "node:fs";
import type { BenchNode } from "../../bench/node.ts";
import { runners } from "../../test/harness/processes.ts";

/** What a node's programs hold. */
export interface Usage {
	/** Resident memory, MB (10^6 bytes). */
	rss: { host: number; runner: number; bridge: number };
	/** Open file descriptors of the three together. */
	fds: number;
}

export async function usage({ node }: BenchNode): Promise<Usage> {
	const bridge = node.bridge.pid ?? 0;
	const pids = { host: [node.host.pid ?? 0], runner: await runners(node.run), bridge: [bridge] };
	const megabytes = (of: readonly number[]): number =>
		of.reduce((sum, pid) => sum + residentBytes(pid), 0) / 1e6;
	return {
		rss: { host: megabytes(pids.host), runner: megabytes(pids.runner), bridge: megabytes(pids.bridge) },
		fds: Object.values(pids)
			.flat()
			.reduce((sum, pid) => sum + openFiles(pid), 0),
	};
}

/** Private memory and that of the program's files. Shared memory is left out: the bridge's pool of segments is no growth of its own. */
export function residentBytes(pid: number): number {
	const status = quietly(() => readFileSync(`/proc/${pid}/status`, "utf8"), "");
	const kilobytes = (field: string): number =>
		Number(new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(status)?.[1] ?? 0);
	return (kilobytes("RssAnon") + kilobytes("RssFile")) * 1024;
}

function openFiles(pid: number): number {
	return quietly(() => readdirSync(`/proc/${pid}/fd`).length, 0);
}

function quietly<T>(read: () => T, otherwise: T): T {
	try {
		return read();
	} catch {
		return otherwise;
	}
}
