import { waitForQuiet } from "./quiet.ts";

const QUIET_LIMIT = 3000;

/** A line on stderr that says how far a measurement is and how long it will still take. */
export interface Progress {
	/** One of `total` steps begins; `what` names it. */
	step(what: string): void;
	/** Waits until the machine is quiet, at most three seconds; how often it stayed busy is said at the end. */
	quiet(): Promise<void>;
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
	let waits = 0;
	let busy = 0;
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
		async quiet(): Promise<void> {
			waits++;
			if (!(await waitForQuiet(QUIET_LIMIT))) busy++;
		},
		note(text: string): void {
			line(output.isTTY ? `${text}\n` : text);
		},
		done(): void {
			if (output.isTTY) output.write("\r\x1b[K");
			if (busy > 0) {
				output.write(
					`the machine was busy with other things before ${busy} of ${waits} measurements: they may be too high\n`,
				);
			}
		},
	};
}

/** Milliseconds for people: "8 s", "2 min 5 s". */
export function duration(ms: number): string {
	const seconds = Math.max(1, Math.round(ms / 1000));
	return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}
