/** An id of a message: an unsigned 64-bit number, or a text that stands for its hash. */
export type Id = bigint | string;

const MASK = (1n << 64n) - 1n;

/** FNV-1a, 64 bits, of a text's UTF-8 bytes. */
export function fnv1a64(text: string): bigint {
	let hash = 0xcbf29ce484222325n;
	for (const byte of new TextEncoder().encode(text)) hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & MASK;
	return hash;
}

/** The number of an id. Throws RangeError for one that is out of range. */
export function numberOf(id: Id): bigint {
	if (typeof id === "string") return fnv1a64(id);
	if (id < 0n || id > MASK) throw new RangeError(`an id is an unsigned 64-bit number, not ${id}`);
	return id;
}
