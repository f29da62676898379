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

/** Takes each row's filter back, in place: a byte is told as its difference from its neighbours. */
function unfiltered(rows: Uint8Array, height: number, stride: number, channels: number): Uint8Array {
	const out = new Uint8Array(height * stride);
	for (let y = 0; y < height; y++) {
		const filter = rows[y * (stride + 1)] ?? 0;
		const from = y * (stride + 1) + 1;
		unfilter(filter, rows.subarray(from, from + stride), out, y * stride, y > 0 ? stride : 0, channels);
	}
	return out;
}

/** `above`: how far back the row above is; 0: there is none, and its bytes are 0. */
function unfilter(
	filter: number,
	row: Uint8Array,
	out: Uint8Array,
	at: number,
	above: number,
	channels: number,
): void {
	const left = (x: number): number => (x >= channels ? (out[at + x - channels] ?? 0) : 0);
	const up = (x: number): number => (above > 0 ? (out[at + x - above] ?? 0) : 0);
	const corner = (x: number): number =>
		above > 0 && x >= channels ? (out[at + x - above - channels] ?? 0) : 0;
	switch (filter) {
		case 0:
			out.set(row, at);
			return;
		case 1:
			for (let x = 0; x < row.length; x++) out[at + x] = (row[x] ?? 0) + left(x);
			return;
		case 2:
			for (let x = 0; x < row.length; x++) out[at + x] = (row[x] ?? 0) + up(x);
			return;
		case 3:
			for (let x = 0; x < row.length; x++) out[at + x] = (row[x] ?? 0) + ((left(x) + up(x)) >> 1);
			return;
		case 4:
			for (let x = 0; x < row.length; x++) out[at + x] = (row[x] ?? 0) + paeth(left(x), up(x), corner(x));
			return;
		default:
			throw new Error("the PNG is damaged");
	}
}

/** The neighbour that is nearest to left + up − corner. */
function paeth(left: number, up: number, corner: number): number {
	const [a, b, c] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)];
	return a <= b && a <= c ? left : b <= c ? up : corner;
}
