/** PNG photos: eight bits a channel, not interlaced. */
import { inflateSync } from "node:zlib";

export interface Picture {
	width: number;
	height: number;
	/** 1: grey, 2: and alpha, 3: red, green and blue, 4: and alpha. */
	channels: number;
	/** Row by row, a byte a channel. */
	pixels: Uint8Array;
}

const SIGNATURE = "\x89PNG\r\n\x1a\n";
const CHANNELS: Readonly<Record<number, number>> = { 0: 1, 2: 3, 4: 2, 6: 4 };
/** Of one photo. */
const MOST_BYTES = 256 << 20;

/** Throws for what is no such photo. */
export function decodePng(file: Uint8Array): Picture {
	const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
	if (String.fromCharCode(...file.subarray(0, 8)) !== SIGNATURE) throw new Error("this is no PNG");
	let picture: Omit<Picture, "pixels"> | undefined;
	const parts: Uint8Array[] = [];
	for (let at = 8; at + 12 <= file.length; ) {
		const length = view.getUint32(at);
		const kind = String.fromCharCode(...file.subarray(at + 4, at + 8));
		const chunk = file.subarray(at + 8, at + 8 + length);
		if (chunk.length < length) throw new Error("the PNG is cut off");
		if (kind === "IHDR") picture = header(chunk);
		else if (kind === "IDAT") parts.push(chunk);
		else if (kind === "IEND") break;
		at += 12 + length;
	}
	if (picture === undefined) throw new Error("the PNG has no header");
	const { width, height, channels } = picture;
	const bytes = height * (1 + width * channels);
	if (bytes > MOST_BYTES) throw new Error("the PNG is too large");
	const rows = inflateSync(joined(parts), { maxOutputLength: bytes, chunkSize: Math.max(64, bytes) });
	if (rows.length < bytes) throw new Error("the PNG is cut off");
	return { ...picture, pixels: unfiltered(rows, height, width * channels, channels) };
}

function header(chunk: Uint8Array): Omit<Picture, "pixels"> {
	const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.byteLength);
	const channels = CHANNELS[view.getUint8(9)];
	if (view.getUint8(8) !== 8 || channels === undefined || view.getUint8(12) !== 0)
		throw new Error("only PNG with eight bits a channel, without palette and interlace, is read");
	return { width: view.getUint32(0), height: view.getUint32(4), channels };
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
	if (parts.length === 1 && parts[0] !== undefined) return parts[0];
	const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
	let at = 0;
	for (const part of parts) {
		whole.set(part, at);
		at += part.length;
	}
	return whole;
}

/** Takes each row's filter back: a byte is told as its difference from its neighbours. */
function unfiltered(rows: Uint8Array, height: number, stride: number, channels: number): Uint8Array {
	const out = new Uint8Array(height * stride);
	let above = new Uint8Array(stride);
	for (let y = 0; y < height; y++) {
		const from = y * (stride + 1) + 1;
		const row = out.subarray(y * stride, (y + 1) * stride);
		row.set(rows.subarray(from, from + stride));
		unfilter(rows[from - 1] ?? 0, row, above, channels);
		above = row;
	}
	return out;
}

/** A row, in place. What would be left of it, or above the first one, counts as 0. */
function unfilter(filter: number, row: Uint8Array, above: Uint8Array, channels: number): void {
	const first = Math.min(channels, row.length);
	switch (filter) {
		case 0:
			return;
		case 1:
			for (let x = first; x < row.length; x++) row[x] = (row[x] ?? 0) + (row[x - channels] ?? 0);
			return;
		case 2:
			for (let x = 0; x < row.length; x++) row[x] = (row[x] ?? 0) + (above[x] ?? 0);
			return;
		case 3:
			for (let x = 0; x < first; x++) row[x] = (row[x] ?? 0) + ((above[x] ?? 0) >> 1);
			for (let x = first; x < row.length; x++)
				row[x] = (row[x] ?? 0) + (((row[x - channels] ?? 0) + (above[x] ?? 0)) >> 1);
			return;
		case 4:
			for (let x = 0; x < first; x++) row[x] = (row[x] ?? 0) + (above[x] ?? 0);
			for (let x = first; x < row.length; x++)
				row[x] = (row[x] ?? 0) + paeth(row[x - channels] ?? 0, above[x] ?? 0, above[x - channels] ?? 0);
			return;
		default:
			throw new Error("the PNG is damaged");
	}
}

/** The neighbour that is nearest to left + up − corner. */
function paeth(left: number, up: number, corner: number): number {
	const a = Math.abs(up - corner);
	const b = Math.abs(left - corner);
	const c = Math.abs(left + up - 2 * corner);
	return a <= b && a <= c ? left : b <= c ? up : corner;
}
