import { once } from "node:events";
import { watch } from "node:fs";
import { isLeftover } from "../deploy/python.ts";

/** Editors write a file in several steps, ms. */
const SETTLE = 150;

/**
 * Calls `changed` at once and after files of a folder changed, until `signal`; never twice at a time. The folder is watched
 * from before the first call, so that no change is missed.
 */
export async function watchFolder(
	folder: string,
	changed: () => Promise<void>,
	signal: AbortSignal,
): Promise<void> {
	if (signal.aborted) return;
	let timer: NodeJS.Timeout | undefined;
	const watcher = watch(folder, { recursive: true, signal }, (_, filename) => {
		if (filename?.split("/").some(isLeftover)) return;
		clearTimeout(timer);
		timer = setTimeout(() => {
			running = running.then(changed);
		}, SETTLE);
	});
	let running = changed();
	try {
		await once(watcher, "close");
	} finally {
		clearTimeout(timer);
		await running;
	}
}
