/** Of more bytes than this only the first and the last are looked at. */
const MAX_HASHED = 64 << 10;

/** FNV-1a 32 beside the length: enough to tell a script's mistake, and not a matter of safety. */
export function fingerprint(bytes: Uint8Array): string {
	const half = MAX_HASHED / 2;
	const hash =
		bytes.length <= MAX_HASHED
			? fnv(bytes)
			: fnv(bytes.subarray(bytes.length - half), fnv(bytes.subarray(0, half)));
	return `${bytes.length}:${hash >>> 0}`;
}

/** Tells two requests of a script apart, which go where their replies go, too. */
export function requestMark(
	conn: number,
	request: Uint8Array,
	to?: { place: string; offset: number; room: number },
): string {
	const place = to === undefined ? "" : `:${to.offset}:${to.room}:${to.place}`;
	return `${conn}:${fingerprint(request)}${place}`;
}

function fnv(bytes: Uint8Array, start = 0x811c9dc5): number {
	let hash = start;
	for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
	return hash;
}
