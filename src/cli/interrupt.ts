import { constants } from "node:os";

/** Aborts at SIGINT or SIGTERM. The process then ends, with a shell's status for that signal. */
export function interruption(): AbortSignal {
	const controller = new AbortController();
	const onSignal = (signal: NodeJS.Signals): void => {
		controller.abort();
		process.exit(128 + constants.signals[signal]);
	};
	process.on("SIGINT", onSignal);
	process.on("SIGTERM", onSignal);
	return controller.signal;
}
