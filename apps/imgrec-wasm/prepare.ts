/** A photo as the network was trained to see it, pixel for pixel as apps/imgrec prepares it with pillow. */
import type { Picture } from "./png.ts";

export const SIZE = 224;
const BORDER = 32;
/** How much larger than wanted a picture may stay when its pixels are first put together. */
const GAP = 2;
/** Of bicubic interpolation: pixels to each side, and the steepness. */
const SUPPORT = 2;
const A = -0.5;

/** The middle of the photo: 1×3×224×224, brightness around 0. */
export function prepare(photo: Picture): Float32Array {
	const side = (Math.min(photo.width, photo.height) * SIZE) / (SIZE + BORDER);
	let picture: Picture = colours(photo);
	let [left, top, scale] = [(photo.width - side) / 2, (photo.height - side) / 2, side / SIZE];
	const factor = Math.max(1, Math.floor(scale / GAP));
	if (factor > 1) {
		const margin = (SUPPORT - 0.5) * scale;
		const x = Math.max(0, Math.floor(left - margin));
		const y = Math.max(0, Math.floor(top - margin));
		const right = Math.min(photo.width, Math.ceil(left + side + margin));
		const bottom = Math.min(photo.height, Math.ceil(top + side + margin));
		picture = reduced(picture, factor, x, y, right, bottom);
		[left, top, scale] = [(left - x) / factor, (top - y) / factor, scale / factor];
	}
	return resized(picture, taps(picture.width, left, scale), taps(picture.height, top, scale));
}

/** Red, green and blue only. */
function colours(picture: Picture): Picture {
	const { channels, pixels } = picture;
	if (channels === 3) return picture;
	const count = picture.width * picture.height;
	const out = new Uint8Array(count * 3);
	for (let index = 0; index < count; index++) {
		for (let channel = 0; channel < 3; channel++)
			out[index * 3 + channel] = pixels[index * channels + (channels === 4 ? channel : 0)] ?? 0;
	}
	return { ...picture, channels: 3, pixels: out };
}

/** Each square of `factor` pixels becomes one, their mean; at the edges of what is left of a square. */
function reduced(
	picture: Picture,
	factor: number,
	left: number,
	top: number,
	right: number,
	bottom: number,
): Picture {
	const [width, height] = [Math.ceil((right - left) / factor), Math.ceil((bottom - top) / factor)];
	const { pixels } = picture;
	const out = new Uint8Array(width * height * 3);
	for (let y = 0; y < height; y++) {
		const from = top + y * factor;
		const rows = Math.min(factor, bottom - from);
		for (let x = 0; x < width; x++) {
			const begin = left + x * factor;
			const columns = Math.min(factor, right - begin);
			let red = 0;
			let green = 0;
			let blue = 0;
			for (let row = 0; row < rows; row++) {
				let at = ((from + row) * picture.width + begin) * 3;
				for (let column = 0; column < columns; column++, at += 3) {
					red += pixels[at] ?? 0;
					green += pixels[at + 1] ?? 0;
					blue += pixels[at + 2] ?? 0;
				}
			}
			const count = rows * columns;
			const at = (y * width + x) * 3;
			out[at] = red / count + 0.5;
			out[at + 1] = green / count + 0.5;
			out[at + 2] = blue / count + 0.5;
		}
	}
	return { width, height, channels: 3, pixels: out };
}

/** What one pixel of the result is made of, along one dimension: where it begins, and the weights. */
interface Taps {
	from: number;
	weights: Float64Array;
}

function taps(size: number, from: number, scale: number): Taps[] {
	const stretch = Math.max(scale, 1);
	const reach = SUPPORT * stretch;
	return Array.from({ length: SIZE }, (_, index) => {
		const centre = from + (index + 0.5) * scale;
		const first = Math.max(0, Math.floor(centre - reach + 0.5));
		const last = Math.min(size, Math.floor(centre + reach + 0.5));
		const weights = new Float64Array(Math.max(0, last - first));
		let sum = 0;
		for (let at = 0; at < weights.length; at++) {
			const weight = bicubic((first + at - centre + 0.5) / stretch);
			weights[at] = weight;
			sum += weight;
		}
		return { from: first, weights: weights.map((weight) => weight / sum) };
	});
}

function bicubic(distance: number): number {
	const x = Math.abs(distance);
	if (x < 1) return ((A + 2) * x - (A + 3)) * x * x + 1;
	return x < 2 ? (((x - 5) * x + 8) * x - 4) * A : 0;
}

/** Along the rows first, then along the columns; bytes in between. */
function resized(picture: Picture, across: readonly Taps[], down: readonly Taps[]): Float32Array {
	const { width, height, pixels } = picture;
	// Clamped and rounded.
	const narrow = new Uint8ClampedArray(height * SIZE * 3);
	for (let y = 0; y < height; y++) {
		let to = y * SIZE * 3;
		for (const { from, weights } of across) {
			let red = 0;
			let green = 0;
			let blue = 0;
			let at = (y * width + from) * 3;
			for (let tap = 0; tap < weights.length; tap++) {
				const weight = weights[tap] ?? 0;
				red += weight * (pixels[at] ?? 0);
				green += weight * (pixels[at + 1] ?? 0);
				blue += weight * (pixels[at + 2] ?? 0);
				at += 3;
			}
			narrow[to++] = red;
			narrow[to++] = green;
			narrow[to++] = blue;
		}
	}
	const small = new Uint8ClampedArray(3);
	const image = new Float32Array(3 * SIZE * SIZE);
	down.forEach(({ from, weights }, y) => {
		for (let x = 0; x < SIZE; x++) {
			for (let channel = 0; channel < 3; channel++) {
				let sum = 0;
				let at = (from * SIZE + x) * 3 + channel;
				for (let tap = 0; tap < weights.length; tap++) {
					sum += (weights[tap] ?? 0) * (narrow[at] ?? 0);
					at += SIZE * 3;
				}
				small[0] = sum;
				image[(channel * SIZE + y) * SIZE + x] = ((small[0] ?? 0) - 127) / 128;
			}
		}
	});
	return image;
}
