/** How much may be compared, in letters by letters: a tenant chooses the texts, and the thread is everybody's. */
export interface Patience {
	left: number;
}

/** Enough for keys and names. */
const USUAL = 1_000_000;

/**
 * The one of `candidates` that is most like `text`, unless more than half of its letters differ. What `patience` is not enough
 * for is not looked at.
 */
export function nearest(
	text: string,
	candidates: Iterable<string>,
	patience: Patience = { left: USUAL },
): string | undefined {
	let best: string | undefined;
	let least = Math.ceil(text.length / 2) + 1;
	for (const candidate of candidates) {
		if (Math.abs(candidate.length - text.length) >= least) continue;
		const takes = candidate.length * text.length;
		if (takes > patience.left) continue;
		patience.left -= takes;
		const steps = distance(text, candidate);
		if (steps < least) {
			best = candidate;
			least = steps;
		}
	}
	return best;
}

/** Levenshtein's distance: how many letters to put in, leave out or change. */
function distance(a: string, b: string): number {
	let row = Array.from({ length: b.length + 1 }, (_, index) => index);
	for (let i = 0; i < a.length; i++) {
		const next = [i + 1];
		for (let j = 0; j < b.length; j++) {
			const changed = (row[j] ?? 0) + (a[i] === b[j] ? 0 : 1);
			next.push(Math.min(changed, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
		}
		row = next;
	}
	return row[b.length] ?? 0;
}
