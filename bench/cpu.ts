import { readdirSync, readFileSync } from "node:fs";

/** Ticks a second of the times in /proc (USER_HZ, fixed at 100 on Linux's common architectures). */
const TICKS = 100;

/** The fields of /proc/<pid>/stat that matter here. */
export interface ProcessStat {
	pid: number;
	parent: number;
	/** Of its program, at most 15 characters. */
	name: string;
	/** CPU seconds of its own threads, user and system; without its children's. */
	seconds: number;
}

/** Reads one line of /proc/<pid>/stat; undefined when it is not one. The name in brackets may hold anything. */
export function parseStat(line: string): ProcessStat | undefined {
	const end = line.lastIndexOf(")");
	const pid = Number.parseInt(line, 10);
	const fields = line.slice(end + 2).split(" ");
	const [, parent] = fields;
	const user = Number(fields[11]);
	const system = Number(fields[12]);
	if (end < 0 || Number.isNaN(pid) || parent === undefined || Number.isNaN(user + system)) return undefined;
	const name = line.slice(line.indexOf("(") + 1, end);
	return { pid, parent: Number(parent), name, seconds: (user + system) / TICKS };
}

function readStat(pid: string): ProcessStat | undefined {
	try {
		return parseStat(readFileSync(`/proc/${pid}/stat`, "utf8"));
	} catch {
		return undefined; // ended in between
	}
}

/** All processes that are there now. */
export function processes(): ProcessStat[] {
	return readdirSync("/proc")
		.filter((name) => /^\d+$/.test(name))
		.map(readStat)
		.filter((stat) => stat !== undefined);
}

/** The process and all that descend from it, of a list. */
export function tree(all: readonly ProcessStat[], root: number): ProcessStat[] {
	const found = all.filter((process) => process.pid === root);
	for (const process of found) found.push(...all.filter((other) => other.parent === process.pid));
	return found;
}

/** CPU seconds of one process without its children's; 0 when it is not there. */
export function ownSeconds(pid: number): number {
	return readStat(String(pid))?.seconds ?? 0;
}

/** CPU seconds of a process and all that live below it now. */
export function treeSeconds(pid: number): number {
	return tree(processes(), pid).reduce((sum, process) => sum + process.seconds, 0);
}
