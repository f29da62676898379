/** Whether the person at the terminal has had enough. */
export interface Stop {
	readonly requested: boolean;
	/** Back to what signals did before. */
	release(): void;
}

/** From now on the first Ctrl-C (or SIGTERM) asks the measurement to end with what it has. */
export function stopOnSignal(): Stop {
	let requested = false;
	const ask = (): void => {
		if (!requested) process.stderr.write("\nending early: what was measured so far follows\n");
		requested = true;
	};
	process.on("SIGINT", ask);
	process.on("SIGTERM", ask);
	return {
		get requested(): boolean {
			return requested;
		},
		release(): void {
			process.off("SIGINT", ask);
			process.off("SIGTERM", ask);
		},
	};
}

/**
 * Does `work` for each item until all are done or a stop is requested. What fails after that is
 * not a failure: nobody waits for it any more.
 *
 * @returns whether all were done
 */
export async function untilStopped<T>(
	stop: Stop,
	items: Iterable<T>,
	work: (item: T) => Promise<void>,
): Promise<boolean> {
	for (const item of items) {
		if (stop.requested) return false;
		try {
			await work(item);
		} catch (error) {
			if (stop.requested) return false;
			throw error;
		}
	}
	return true;
}
