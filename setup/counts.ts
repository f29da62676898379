/** How many tests passed and failed. */
export interface Counts {
	passed: number;
	failed: number;
}

export function addCounts(a: Counts, b: Counts): Counts {
	return { passed: a.passed + b.passed, failed: a.failed + b.failed };
}

/** The counts that one line of output reports, if it is such a line: of vitest, cargo test or unittest. */
export function countsIn(line: string): Counts {
	// biome-ignore lint/suspicious/noControlCharactersInRegex: colours of a terminal
	const text = line.replaceAll(/\x1b\[[0-9;]*m/g, "").trim();
	const cargo = /^test result: \w+\. (\d+) passed; (\d+) failed/.exec(text);
	if (cargo) return { passed: Number(cargo[1]), failed: Number(cargo[2]) };
	if (/^Tests {2}/.test(text))
		return { passed: number(text, /(\d+) passed/), failed: number(text, /(\d+) failed/) };
	const ran = /^Ran (\d+) tests? in/.exec(text);
	if (ran) return { passed: Number(ran[1]), failed: 0 };
	// unittest says how many of those that it ran did not pass
	const bad = number(text, /^FAILED \(.*failures=(\d+)/) + number(text, /^FAILED \(.*errors=(\d+)/);
	return { passed: -bad, failed: bad };
}

function number(text: string, pattern: RegExp): number {
	return Number(pattern.exec(text)?.[1] ?? 0);
}
