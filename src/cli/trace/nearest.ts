/** The one of `candidates` that is most like `text`, unless nothing is (more than half of the letters differ). */
export function nearest(text: string, candidates: readonly string[]): string | undefined {
	let best: string | undefined;
	let least = Math.ceil(text.length / 2);
	for (const candidate of new Set(candidates)) {
		const steps = distance(text, candidate);
		if (steps <= least && candidate !== text) {
			best = candidate;
			least = steps;
		}
	}
	return best;
}

/** Levenshtein's distance: how many letters to put in, leave out or change. */
export function distance(a: string, b: string): number {
	let row = Array.from({ length: b.length + 1 }, (_, index) => index);
	for (const [i, letter] of [...a].entries()) {
		const next = [i + 1];
		for (const [j, other] of [...b].entries()) {
			const changed = (row[j] ?? 0) + (letter === other ? 0 : 1);
			next.push(Math.min(changed, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
		}
		row = next;
	}
	return row[b.length] ?? 0;
}
