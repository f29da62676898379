/** Damaged copies of seeds, the same for the same number. */

/** How many copies a test tries; `npm run fuzz` asks for more. */
export const rounds = Number(process.env.FUZZ_ROUNDS ?? 3_000);

/** A small generator of the same numbers each time (mulberry32). */
export class Random {
	#state: number;

	constructor(seed: number) {
		this.#state = seed;
	}

	/** From 0 to below `count`. */
	below(count: number): number {
		this.#state = (this.#state + 0x6d2b79f5) | 0;
		let it = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
		it ^= it + Math.imul(it ^ (it >>> 7), 61 | it);
		return ((it ^ (it >>> 14)) >>> 0) % Math.max(count, 1);
	}

	of<T>(list: readonly T[]): T {
		const index = this.below(list.length);
		const item = list[index];
		if (item === undefined) throw new RangeError("nothing to choose from");
		return item;
	}
}

/** What binary formats care about: ends of ranges, long numbers, many of something. */
const TOKENS: readonly (readonly number[])[] = [
	[0],
	[0x7f],
	[0x80],
	[0xff],
	[0xff, 0xff, 0xff, 0xff],
	[0xff, 0xff, 0xff, 0xff, 0x0f],
	[0x80, 0x80, 0x80, 0x80, 0x08],
	[0, 0, 0, 0x80],
	[1, 0, 0, 0],
	[0x0b],
];

/** A seed with one to four changes. */
export function damaged(random: Random, seeds: readonly Uint8Array[]): Uint8Array {
	let bytes = Array.from(random.of(seeds));
	for (let changes = 1 + random.below(4); changes > 0; changes -= 1) {
		const at = random.below(bytes.length + 1);
		const length = random.below(16);
		switch (random.below(8)) {
			case 0:
				bytes = bytes.slice(0, at);
				break;
			case 1:
				bytes.splice(at, length);
				break;
			case 2:
				bytes.splice(at, 0, ...bytes.slice(at, at + length));
				break;
			case 3:
				bytes.splice(at, 0, ...random.of(TOKENS));
				break;
			case 4: {
				const token = random.of(TOKENS);
				bytes.splice(at, token.length, ...token);
				break;
			}
			case 5: {
				const other = random.of(seeds);
				bytes = [...bytes.slice(0, at), ...other.subarray(random.below(other.length + 1))];
				break;
			}
			default:
				if (at < bytes.length)
					bytes[at] = random.below(2) === 0 ? random.below(256) : (bytes[at] ?? 0) ^ (1 << random.below(8));
		}
	}
	return Uint8Array.from(bytes);
}

/** For a failure's text. */
export function hex(bytes: Uint8Array): string {
	return Buffer.from(bytes).toString("hex");
}
