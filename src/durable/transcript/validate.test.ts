import { expect, test } from "vitest";
import { parseId, parseLoad, parseOps, parseRun } from "./validate.ts";

test("calls of the initscript API pass", () => {
	const ops = [
		{ op: "connect", conn: 1, address: "s3://b" },
		{ op: "sendRpc", conn: 1, rpc: 7n, request: new Uint8Array(3) },
		{ op: "sendRpc", conn: 1, rpc: 8n, request: new Uint8Array(3), timeoutMs: 20 },
		{ op: "sendMsg", id: 2n, data: new Uint8Array() },
		{ op: "transferConn", id: 3n, address: "tcp://db:1", conn: 1 },
		{ op: "sendReply", id: 2n, rpc: 7n },
		{ op: "expect", count: 3 },
		{ op: "expectMsg", id: 0xffff_ffff_ffff_ffffn },
		{ op: "log", level: "warn", text: "x" },
	];
	expect(parseOps(ops)).toEqual(ops);
});

test.each([
	["no list", {}],
	["a list that is too long", Array.from({ length: 5000 }, () => ({ op: "expect", count: 1 }))],
	["nothing", [null]],
	["an unknown call", [{ op: "fork" }]],
	["an id that is a number", [{ op: "expectMsg", id: 1 }]],
	["an id that is negative", [{ op: "expectMsg", id: -1n }]],
	["an id of 65 bits", [{ op: "expectMsg", id: 1n << 64n }]],
	["a fraction", [{ op: "expect", count: 0.5 }]],
	["a count that is too large", [{ op: "expect", count: 2 ** 32 }]],
	["an address that is too long", [{ op: "connect", conn: 1, address: "x".repeat(5000) }]],
	["a connection that is handed over to nowhere", [{ op: "transferConn", id: 1n, conn: 1 }]],
	[
		"a time that is negative",
		[{ op: "sendRpc", conn: 1, rpc: 1n, request: new Uint8Array(), timeoutMs: -1 }],
	],
	["bytes that are none", [{ op: "sendMsg", id: 1n, data: [1, 2] }]],
	["too many bytes", [{ op: "sendMsg", id: 1n, data: new Uint8Array((2 << 20) + 1) }]],
])("%s is refused", (_, value) => {
	expect(() => parseOps(value)).toThrow(TypeError);
});

test("ids are unsigned and have 64 bits", () => {
	expect(parseId(0n)).toBe(0n);
	expect(() => parseId("1")).toThrow(TypeError);
});

test("a script's end passes, bounded; anything else is refused", () => {
	expect(parseRun({ ok: { ops: [], end: "exit", status: 3 } })).toEqual({
		ok: { ops: [], end: "exit", status: 3 },
	});
	const trap = {
		ops: [],
		end: "trap",
		error: { code: "x", message: "y".repeat(1e5) },
		stack: "z".repeat(1e5),
	};
	const parsed = parseRun({ ok: trap });
	expect(JSON.stringify(parsed).length).toBeLessThan(30_000);
	for (const wrong of [undefined, null, 1, {}, { ok: {} }, { ok: { ops: [], end: "bang" } }, { error: {} }]) {
		expect(() => parseRun(wrong)).toThrow(TypeError);
	}
});

test("an error of a runner has a code that we know", () => {
	expect(parseLoad({ ok: {} })).toBeUndefined();
	expect(parseLoad({ error: { code: "invalidArgument", message: "m" } })).toMatchObject({
		code: "invalidArgument",
	});
	expect(parseLoad({ error: { code: "toString", message: "m" } })).toMatchObject({
		code: "initscriptFailed",
	});
});
