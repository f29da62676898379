/** A line on stderr that says how far a measurement is and how long it will still take. */
export interface Progress {
	/** One of `total` steps begins; `what` names it. */
	step(what: string): void;
	/** Says something beside the count. */
	note(text: string): void;
	done(): void;
}

interface Output {
	isTTY?: boolean;
	write(text: string): unknown;
}

/**
 * Progress on `output`: one line that is rewritten on a terminal, elsewhere a line at most every five seconds.
 * `now` gives milliseconds.
 */
export function progress(
	total: number,
	output: Output = process.stderr,
	now: () => number = Date.now,
): Progress {
	let begun = 0;
	let firstAt = 0;
	let lastPrint = Number.NEGATIVE_INFINITY;
	const line = (text: string): void => {
		output.write(output.isTTY ? `\r\x1b[K${text}` : `${text}\n`);
	};
	return {
		step(what: string): void {
			const at = now();
			if (begun === 0) firstAt = at;
			const left = begun === 0 ? "" : `, about ${duration(((at - firstAt) / begun) * (total - begun))} left`;
			begun++;
			if (output.isTTY || at - lastPrint >= 5000) {
				lastPrint = at;
				line(`${begun}/${total} ${what}${left}`);
			}
		},
		note(text: string): void {
			line(output.isTTY ? `${text}\n` : text);
		},
		done(): void {
			if (output.isTTY) output.write("\r\x1b[K");
		},
	};
}

/** Milliseconds for people: "8 s", "2 min 5 s". */
export function duration(ms: number): string {
	const seconds = Math.max(1, Math.round(ms / 1000));
	return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}
