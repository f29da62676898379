import { watch } from "node:fs/promises";
import { isLeftover } from "../deploy/python.ts";

/** Editors write a file in several steps, ms. */
const SETTLE = 150;

/** Calls `changed` after files of a folder changed, until `signal`; never twice at a time. */
export async function watchFolder(
	folder: string,
	changed: () => Promise<void>,
	signal: AbortSignal,
): Promise<void> {
	let timer: NodeJS.Timeout | undefined;
	let running = Promise.resolve();
	try {
		for await (const { filename } of watch(folder, { recursive: true, signal })) {
			if (filename?.split("/").some(isLeftover)) continue;
			clearTimeout(timer);
			timer = setTimeout(() => {
				running = running.then(changed);
			}, SETTLE);
		}
	} catch (error) {
		if (!signal.aborted) throw error;
	} finally {
		clearTimeout(timer);
		await running;
	}
}
