import { describe, expect, test } from "vitest";
import { ScriptFailure } from "./failure.ts";
import { limits } from "./limits.ts";
import { cleanOp } from "./ops.ts";

describe("a call from an untrusted isolate", () => {
	test("keeps its own fields only", () => {
		const op = { op: "sendReply", id: 1n, rpc: 2n, extra: "x".repeat(1 << 20) };
		expect(cleanOp(op)).toEqual({ op: "sendReply", id: 1n, rpc: 2n });
	});

	test.each([
		null,
		"connect",
		{},
		{ op: "nothing" },
		{ op: 1n },
		{ op: "connect", conn: -1, address: "a" },
		{ op: "connect", conn: 1.5, address: "a" },
		{ op: "connect", conn: 1 },
		{ op: "connect", conn: 1, address: "a".repeat(limits.addressBytes + 1) },
		{ op: "sendRpc", conn: 1, rpc: 1, request: new Uint8Array() },
		{ op: "sendRpc", conn: 1, rpc: 2n ** 64n, request: new Uint8Array() },
		{ op: "sendRpc", conn: 1, rpc: -1n, request: new Uint8Array() },
		{ op: "sendRpc", conn: 1, rpc: 1n, request: [1, 2] },
		{ op: "sendMsg", id: 1n, data: new Uint8Array(limits.requestBytes + 1) },
		{ op: "sendRpc", conn: 1, rpc: 1n, request: new Uint8Array(), timeoutMs: -1 },
		{ op: "sendRpc", conn: 1, rpc: 1n, request: new Uint8Array(), timeoutMs: "1" },
		{ op: "transferConn", id: 1n, conn: 1 },
		{ op: "transferConn", id: 1n, address: "a" },
		{ op: "transferConn", id: 1, address: "a", conn: 1 },
		{ op: "transferConn", id: 1n, address: "a".repeat(limits.addressBytes + 1), conn: 1 },
		{ op: "expect", count: Number.NaN },
		{ op: "expect", count: Object.create(null) },
		{ op: "log", level: "fatal", text: "x" },
		{ op: "log", level: "info", text: 1 },
	])("%o is refused", (value) => {
		expect(() => cleanOp(value)).toThrow(ScriptFailure);
	});
});
