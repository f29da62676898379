import type { RunningNode } from "./node.ts";

/** Starts a node and runs it until SIGINT or SIGTERM, then stops it. A second signal ends at once. */
export async function runUntilSignal(start: () => Promise<RunningNode>): Promise<void> {
	let end: (() => void) | undefined;
	const ended = new Promise<void>((resolve) => {
		end = resolve;
	});
	let asked = false;
	const onSignal = (signal: NodeJS.Signals): void => {
		if (asked) process.exit(130);
		asked = true;
		process.stderr.write(`${signal}: stopping (once more: at once)\n`);
		end?.();
	};
	process.on("SIGINT", onSignal);
	process.on("SIGTERM", onSignal);
	try {
		const node = await start();
		await ended;
		await node.stop();
	} finally {
		process.off("SIGINT", onSignal);
		process.off("SIGTERM", onSignal);
	}
}
