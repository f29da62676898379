import { type FileHandle, open, readFile } from "node:fs/promises";

/** Regions larger than this are read in pieces of it. */
const PIECE = 4 << 20;
const PAGE = 4096;

/** Which of the texts are in a process's memory, environment or arguments. One that has ended has none. */
export async function textsInProcess(pid: number, texts: readonly string[]): Promise<string[]> {
	const found = new Set<string>();
	const look = (bytes: Buffer): void => {
		for (const text of texts) if (bytes.includes(text)) found.add(text);
	};
	for (const file of ["environ", "cmdline"]) {
		look(await readFile(`/proc/${pid}/${file}`).catch(() => Buffer.alloc(0)));
	}
	const memory = await open(`/proc/${pid}/mem`).catch(() => undefined);
	const map = await open(`/proc/${pid}/pagemap`).catch(() => undefined);
	try {
		if (memory === undefined || map === undefined) return [...found];
		const overlap = Math.max(...texts.map((text) => Buffer.byteLength(text)));
		const piece = Buffer.alloc(PIECE + overlap);
		for await (const [start, end] of resident(map, await readable(pid))) {
			for (let at = start; at < end; at += PIECE) {
				const length = Math.min(piece.length, end - at);
				const { bytesRead } = await memory.read(piece, 0, length, at).catch(() => ({ bytesRead: 0 }));
				look(piece.subarray(0, bytesRead));
			}
		}
	} finally {
		await memory?.close();
		await map?.close();
	}
	return [...found];
}

/** The runs of pages of these regions that are in memory: most of what V8 reserves is not. */
async function* resident(map: FileHandle, regions: [number, number][]): AsyncGenerator<[number, number]> {
	const entries = Buffer.alloc(8 * (1 << 16));
	for (const [start, end] of regions) {
		let begin: number | undefined;
		for (let at = start; at < end; ) {
			const wanted = Math.min(entries.length, ((end - at) / PAGE) * 8);
			const { bytesRead } = await map
				.read(entries, 0, wanted, (at / PAGE) * 8)
				.catch(() => ({ bytesRead: 0 }));
			if (bytesRead === 0) break;
			for (let entry = 0; entry < bytesRead; entry += 8, at += PAGE) {
				const present = ((entries[entry + 7] ?? 0) & 0x80) !== 0;
				if (present) begin ??= at;
				if (!present && begin !== undefined) {
					yield [begin, at];
					begin = undefined;
				}
			}
		}
		if (begin !== undefined) yield [begin, end];
	}
}

async function readable(pid: number): Promise<[number, number][]> {
	const maps = await readFile(`/proc/${pid}/maps`, "utf8").catch(() => "");
	return [...maps.matchAll(/^([0-9a-f]+)-([0-9a-f]+) r/gm)].map(([, start = "0", end = "0"]) => [
		Number.parseInt(start, 16),
		Number.parseInt(end, 16),
	]);
}
