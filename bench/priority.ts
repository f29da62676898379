import { readdir } from "node:fs/promises";
import { constants, setPriority } from "node:os";

/**
 * Gives a program, each of its threads, the lowest priority: it stands for another machine, and must take no time from what
 * is measured on this one.
 */
export async function standAside(pid: number): Promise<void> {
	for (const thread of await readdir(`/proc/${pid}/task`))
		setPriority(Number(thread), constants.priority.PRIORITY_LOW);
}
