/** Calls of any shape: the port lets well-formed ones through, and only fields that it knows. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { rounds } from "../../../fuzz/mutate.ts";
import { ScriptFailure } from "./failure.ts";
import { cleanOp, opBytes } from "./ops.ts";

const FIELDS: Record<string, readonly string[]> = {
	connect: ["op", "conn", "address"],
	sendRpc: ["op", "conn", "rpc", "request", "timeoutMs"],
	sendMsg: ["op", "id", "data"],
	sendReply: ["op", "id", "rpc"],
	transferConn: ["op", "id", "address", "conn"],
	expect: ["op", "count"],
	expectMsg: ["op", "id"],
	log: ["op", "level", "text"],
};

const number = fc.oneof(fc.nat(), fc.double(), fc.integer(), fc.constantFrom(2 ** 32, -0, Number.NaN));
const id = fc.oneof(fc.bigInt({ min: -1n, max: 1n << 64n }), fc.nat());
const any = fc.oneof(
	fc.anything({ withBigInt: true, withTypedArray: true, withNullPrototype: true }),
	number,
	id,
);
const call = fc.record(
	{
		op: fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...Object.keys(FIELDS), "__proto__") }, any),
		conn: fc.oneof(number, any),
		id: fc.oneof(id, any),
		rpc: fc.oneof(id, any),
		address: fc.oneof(fc.string({ unit: "binary" }), any),
		request: fc.oneof(fc.uint8Array(), any),
		data: fc.oneof(fc.uint8Array(), any),
		timeoutMs: fc.oneof(fc.constant(undefined), number, any),
		count: fc.oneof(number, any),
		level: fc.oneof(fc.constantFrom("info", "error"), any),
		text: fc.oneof(fc.string({ unit: "binary" }), any),
		extra: any,
	},
	{ requiredKeys: ["op"], noNullPrototype: false },
);

test("calls of any shape are cleaned or refused", () => {
	let clean = 0;
	const property = fc.property(fc.oneof({ weight: 9, arbitrary: call }, any), (value) => {
		try {
			const op = cleanOp(value);
			clean += 1;
			expect(FIELDS[op.op]).toEqual(expect.arrayContaining(Object.keys(op)));
			expect(opBytes(op)).toBeGreaterThan(0);
			expect(cleanOp(op)).toEqual(op);
			for (const field of Object.values(op))
				expect(field instanceof Uint8Array || Object(field) !== field).toBe(true);
		} catch (error) {
			expect(error).toBeInstanceOf(ScriptFailure);
		}
	});
	fc.assert(property, { numRuns: rounds, seed: 7 });
	expect(clean).toBeGreaterThan(rounds / 100);
}, 120_000);
