import { deflateSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { classesOf } from "./classes.ts";
import { decodePng } from "./png.ts";
import { prepare, SIZE } from "./prepare.ts";

function chunk(kind: string, data: Uint8Array): Buffer {
	const head = Buffer.alloc(8);
	head.writeUInt32BE(data.length);
	head.write(kind, 4, "latin1");
	return Buffer.concat([head, data, Buffer.alloc(4)]);
}

/** A PNG of rows as they are filtered. */
function png(width: number, rows: readonly (readonly number[])[], colour = 2, depth = 8): Buffer {
	const header = Buffer.alloc(13);
	header.writeUInt32BE(width);
	header.writeUInt32BE(rows.length, 4);
	header.set([depth, colour, 0, 0, 0], 8);
	const data = deflateSync(Buffer.from(rows.flat()));
	const half = data.length >> 1;
	return Buffer.concat([
		Buffer.from("\x89PNG\r\n\x1a\n", "latin1"),
		chunk("IHDR", header),
		chunk("IDAT", data.subarray(0, half)),
		chunk("IDAT", data.subarray(half)),
		chunk("IEND", Buffer.alloc(0)),
	]);
}

describe("PNG", () => {
	test("every filter is taken back", () => {
		const photo = decodePng(
			png(2, [
				[0, 10, 20, 30, 40, 50, 60],
				[1, 1, 2, 3, 4, 5, 6],
				[2, 1, 1, 1, 250, 0, 1],
				[3, 1, 1, 1, 1, 1, 1],
				[4, 1, 1, 1, 1, 1, 1],
			]),
		);
		expect(photo).toMatchObject({ width: 2, height: 5, channels: 3 });
		expect([...photo.pixels]).toEqual(
			[
				[10, 20, 30, 40, 50, 60],
				[1, 2, 3, 5, 7, 9],
				[2, 3, 4, 255, 7, 10],
				[2, 2, 3, 129, 5, 7],
				[3, 3, 4, 130, 6, 8],
			].flat(),
		);
	});

	test("what is none is refused", () => {
		const whole = png(1, [[0, 1, 2, 3]]);
		expect(() => decodePng(Buffer.from("GIF89a"))).toThrow("no PNG");
		expect(() => decodePng(whole.subarray(0, 40))).toThrow(/cut off|header|unexpected end/);
		expect(() => decodePng(png(1, [[9, 1, 2, 3]]))).toThrow("damaged");
		expect(() => decodePng(png(1, [[0, 1]], 3))).toThrow("palette");
		expect(() => decodePng(png(1, [[0, 1]], 2, 16))).toThrow("eight bits");
		expect(() => decodePng(png(1000, [[0, 1]]))).toThrow("cut off");
	});
});

test("a picture of one colour stays it, whatever its size", () => {
	for (const side of [100, 224, 1364]) {
		const pixels = new Uint8Array(side * side * 3).map((_, index) => [10, 127, 255][index % 3] ?? 0);
		const image = prepare({ width: side, height: side, channels: 3, pixels });
		const channel = (number: number): number[] => [
			...new Set(image.subarray(number * SIZE * SIZE, (number + 1) * SIZE * SIZE)),
		];
		expect([0, 1, 2].map(channel)).toEqual([[-117 / 128], [0], [1]]);
	}
});

test("the names of the classes are found behind the network", () => {
	const entry = [0x0a, 7, ...Buffer.from("classes"), 0x12, 7, ...Buffer.from("cat\ndog")];
	const model = Uint8Array.from([8, 0xac, 2, 0x3a, 3, 1, 2, 3, 0x72, entry.length, ...entry]);
	expect(classesOf(model)).toEqual(["cat", "dog"]);
	expect(() => classesOf(model.subarray(0, 20))).toThrow("cut off");
	expect(() => classesOf(Uint8Array.from([8, 1]))).toThrow("name its classes");
	expect(() => classesOf(Uint8Array.from([0xff]))).toThrow("damaged");
});
