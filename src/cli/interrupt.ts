/** Aborts at SIGINT or SIGTERM. The process then ends by that signal, as it would have without this. */
export function interruption(): AbortSignal {
	const controller = new AbortController();
	const onSignal = (signal: NodeJS.Signals): void => {
		controller.abort();
		process.off("SIGINT", onSignal);
		process.off("SIGTERM", onSignal);
		process.kill(process.pid, signal);
	};
	process.on("SIGINT", onSignal);
	process.on("SIGTERM", onSignal);
	return controller.signal;
}
