import { expect, test } from "vitest";
import { answerOf, bytesOf } from "./answer.ts";

const type = (value: string): [string, string][] => [["content-type", value]];

test.each([
	["text", 200, type("text/plain; charset=utf-8"), ["text"]],
	[undefined, 200, [], []],
	[null, 200, [], []],
	[{ ok: true }, 200, type("application/json"), ['{"ok":true}']],
	[[1, 2], 200, type("application/json"), ["[1,2]"]],
	[false, 200, type("application/json"), ["false"]],
	[{ status: 404, body: "gone" }, 404, type("text/plain; charset=utf-8"), ["gone"]],
	[{ status: 201, headers: { "Content-Type": "a/b" }, body: "x" }, 201, [["Content-Type", "a/b"]], ["x"]],
	[{ status: "fine", more: 1 }, 200, type("application/json"), ['{"status":"fine","more":1}']],
])("%j", (result, status, headers, pieces) => {
	expect(answerOf(result)).toEqual({ status, headers, pieces });
});

test("bytes and streams are sent as they are", async () => {
	const bytes = new Uint8Array([1, 2]);
	expect(answerOf(bytes)).toEqual({
		status: 200,
		headers: type("application/octet-stream"),
		pieces: [bytes],
	});
	async function* stream(): AsyncGenerator<string> {
		yield "a";
	}
	const { headers, pieces } = answerOf(stream());
	expect(headers).toEqual(type("application/octet-stream"));
	for await (const piece of pieces) expect(bytesOf(piece)).toEqual(new Uint8Array([97]));
});

test("what is no answer is a TypeError", () => {
	expect(() => answerOf({ status: 99 })).toThrow(TypeError);
	expect(() => answerOf(() => 1)).toThrow("cannot return a function");
	expect(() => bytesOf(1)).toThrow("not a number");
});
