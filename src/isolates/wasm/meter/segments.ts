/**
 * Segments: code that is run as a whole once its beginning is run, and that is charged there. A function begins one, and so
 * does each loop, each arm of an `if`, and what follows a conditional branch, or a call that may be the host's. What follows a block goes on with the segment
 * before it, unless a branch may have left past the block's end.
 */

/** The segment of code that cannot be reached. */
export const NONE = -1;

/** A segment that costs this much at most is charged with the one before it, which need not lead to it. */
const SMALL = 8;
/** What one segment may take over in that way. */
const MOST_TAKEN = 16;
/** A function that calls none need not be checked where all of it costs no more than this: its caller is, and so are its loops. */
const UNCHECKED = 64;
/** What charging costs itself, without and with a look at what is left: no loop goes on for nothing. */
const CHARGE = 4;
const CHECK = 7;

interface Segment {
	/** The one that is run before it. */
	readonly before: number;
	/** Whether it begins a function or a loop, or follows what the host may have done. */
	readonly header: boolean;
	cost: number;
	taken: number;
}

export class Segments {
	readonly #segments: Segment[] = [];
	/** What all of them cost. */
	#total = 0;

	/** A new segment behind another, or none where that one is none. */
	open(before: number, header: boolean): number {
		if (before === NONE && this.#segments.length > 0) return NONE;
		return this.#segments.push({ before, header, cost: 0, taken: 0 }) - 1;
	}

	add(segment: number, cost: number): void {
		const it = this.#segments[segment];
		if (it === undefined) return;
		it.cost += cost;
		this.#total += cost;
	}

	/** Charges small segments with those before them. Call it once, when all is added. */
	settle(): void {
		for (let at = this.#segments.length - 1; at > 0; at -= 1) {
			const it = this.#segments[at];
			const before = this.#segments[it?.before ?? NONE];
			if (it === undefined || before === undefined || it.header) continue;
			if (it.cost > SMALL || before.taken + it.cost > MOST_TAKEN) continue;
			before.cost += it.cost;
			before.taken += it.cost;
			it.cost = 0;
		}
	}

	/** What is charged at a segment's beginning, and whether it is checked there. `calls`: whether its function calls any. */
	charge(segment: number, calls: boolean): { cost: number; checked: boolean } {
		const it = this.#segments[segment];
		if (it === undefined) return { cost: 0, checked: false };
		const isFunction = segment === 0;
		const checked = it.header && (!isFunction || calls || this.#total > UNCHECKED);
		if (checked) return { cost: it.cost + CHECK, checked };
		return { cost: it.cost === 0 ? 0 : it.cost + CHARGE, checked };
	}
}
