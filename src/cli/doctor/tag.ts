/** What names of kernel objects of the node on a run directory carry: as native-bridge/sandbox/src/names.rs makes it. */
export function nodeTag(run: string): string {
	let hash = 0xcbf29ce484222325n;
	for (const byte of Buffer.from(run)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
	const folded = (hash ^ (hash >> 20n) ^ (hash >> 40n)) & 0xfffffn;
	return folded.toString(16).padStart(5, "0");
}
