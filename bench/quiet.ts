import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

/** CPU time of the whole machine since boot, in ticks of all CPUs. */
export interface MachineTime {
	idle: number;
	total: number;
}

/** Reads the first line of /proc/stat. Waiting for a disk counts as idle. */
export function parseMachineTime(text: string): MachineTime {
	const [user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0] = text
		.slice(0, text.indexOf("\n"))
		.split(/\s+/)
		.slice(1)
		.map(Number);
	return { idle: idle + iowait, total: user + nice + system + idle + iowait + irq + softirq + steal };
}

/** The part of a span in which CPUs were idle, 0…1. */
export function idleBetween(before: MachineTime, after: MachineTime): number {
	return after.total === before.total ? 1 : (after.idle - before.idle) / (after.total - before.total);
}

/** A machine is quiet when its CPUs were idle for this part of this many spans in a row, each so many ms. */
const QUIET = { idle: 0.9, spans: 2, span: 120 };

/**
 * Waits until the machine is quiet: what the measurement before left to do is done, and nothing else runs.
 *
 * @returns whether it became quiet within `limit` milliseconds
 */
export async function waitForQuiet(
	limit: number,
	read: () => Promise<MachineTime> = async () => parseMachineTime(await readFile("/proc/stat", "utf8")),
): Promise<boolean> {
	const end = Date.now() + limit;
	let before = await read();
	for (let quiet = 0; quiet < QUIET.spans; ) {
		if (Date.now() > end) return false;
		await sleep(QUIET.span);
		const after = await read();
		quiet = idleBetween(before, after) >= QUIET.idle ? quiet + 1 : 0;
		before = after;
	}
	return true;
}
