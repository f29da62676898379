const encoder = new TextEncoder();
const OFFSET = 0xcbf29ce484222325n;
const PRIME = 0x100000001b3n;

/** The id that a text stands for: FNV-1a 64 of its UTF-8 bytes. */
export function fnv1a64(text: string): bigint {
	let hash = OFFSET;
	for (const byte of encoder.encode(text)) hash = ((hash ^ BigInt(byte)) * PRIME) & 0xffff_ffff_ffff_ffffn;
	return hash;
}
