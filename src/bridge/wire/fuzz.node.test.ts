/** Damaged streams from the bridge: what is malformed is a RangeError, and every call on such a connection ends. */
import { expect, test } from "vitest";
import { damaged, hex, Random, rounds } from "../../../fuzz/mutate.ts";
import { HeadstartError } from "../../shared/error.ts";
import { EVENT, type Event, FUNCTION, readEvent, readFunction, writeEvent } from "../generated/bridge.ts";
import { Connection, type Method } from "../rpc/connection.ts";
import { Framer } from "./framing.ts";
import type { StructReader } from "./reader.ts";
import { MessageWriter, type StructWriter } from "./writer.ts";

const random = new Random(9);

function message(size: { data: number; pointers: number }, write: (root: StructWriter) => void): Uint8Array {
	const writer = new MessageWriter();
	write(writer.root(size));
	return writer.finish();
}

/** An answer of the RPC protocol: the results are a struct with a text and a capability. */
function answer(id: number): Uint8Array {
	return message({ data: 8, pointers: 1 }, (root) => {
		root.uint16(0, 3);
		const returned = root.struct(0, { data: 16, pointers: 1 });
		returned.uint32(0, id);
		const payload = returned.struct(0, { data: 0, pointers: 2 });
		payload.struct(0, { data: 8, pointers: 2 }).text(0, "a result");
		payload.structs(1, { data: 8, pointers: 1 }, [5], (entry, number) => {
			entry.uint16(0, 1);
			entry.uint32(4, number);
		});
	});
}

const reply = {
	status: 200,
	segment: 1,
	offset: 0n,
	length: 3n,
	inlined: Uint8Array.of(1, 2, 3),
	headers: [{ name: "a", value: "b" }],
	attempts: 1,
	place: "",
};
const events: Event[] = [
	{ seq: 1n, at: 5n, which: "started" },
	{ seq: 2n, at: 6n, which: "rpcDone", rpcDone: { rpc: 7n, reply, error: { code: "ok", message: "" } } },
	{
		seq: 4n,
		at: 8n,
		which: "sandboxExited",
		sandboxExited: { status: -1, signal: 9, error: { code: "appExited", message: "gone" } },
	},
];

test("damaged events are RangeErrors, in however many segments they say to be", () => {
	const seeds = events.map((event) => message(EVENT, (root) => writeEvent(root, event)));
	for (let round = 0; round < rounds; round += 1) {
		const bytes = damaged(random, seeds);
		try {
			const framer = new Framer();
			framer.push(bytes);
			for (let it = framer.next(); it !== undefined; it = framer.next()) {
				readEvent(it.root());
				readFunction(it.root());
			}
		} catch (error) {
			if (!(error instanceof RangeError)) throw new Error(`${hex(bytes)} broke the reader`, { cause: error });
		}
	}
});

test("few bytes do not become many objects", () => {
	// A list of 4,000 texts, each of which is the same 24,000 bytes.
	const bytes = message(FUNCTION, (root) =>
		root.texts(6, ["x".repeat(24_000), ...Array<string>(4_000).fill("")]),
	);
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
	const first = Array.from({ length: bytes.length / 8 }, (_, word) => word * 8).find(
		(at) => at > 8 && view.getUint32(at + 4, true) === ((24_001 << 3) | 2),
	);
	if (first === undefined) throw new Error("there is no such text");
	const target = first + 8 + (view.getInt32(first, true) >> 2) * 8;
	for (let number = 1; number <= 4_000; number += 1) {
		const at = first + number * 8;
		view.setInt32(at, (((target - at - 8) / 8) << 2) | 1, true);
		view.setUint32(at + 4, (24_001 << 3) | 2, true);
	}
	const framer = new Framer();
	framer.push(bytes);
	const it = framer.next();
	if (it === undefined) throw new Error("the message is not complete");
	expect(() => it.root().list(6).texts()).toThrow(RangeError);
});

const method: Method<string> = {
	interfaceId: 1n,
	methodId: 2,
	paramsSize: { data: 0, pointers: 1 },
	writeParams: (params) => params.text(0, "hello"),
	readResults: (results: StructReader, capabilities) => {
		capabilities.capability(1)[Symbol.dispose]();
		return results.text(0);
	},
};

test("calls end with a result or a HeadstartError, whatever comes", async () => {
	const seeds = [
		[answer(0), answer(1)],
		[answer(1), answer(0), answer(7)],
		[answer(0), message({ data: 8, pointers: 1 }, (root) => root.uint16(0, 1))],
	].map((parts) => Uint8Array.from(parts.flatMap((part) => Array.from(part))));
	let answered = 0;
	for (let round = 0; round < rounds / 3 + 1; round += 1) {
		const bytes = round === 0 ? (seeds[0] ?? Uint8Array.of()) : damaged(random, seeds);
		let sent: (end: Uint8Array) => void = () => undefined;
		const readable = new ReadableStream({
			type: "bytes",
			start: (controller) => {
				sent = (chunk) => {
					if (chunk.length > 0) controller.enqueue(chunk);
					controller.close();
					// A read that waits ends now, too.
					controller.byobRequest?.respond(0);
				};
			},
		});
		const connection = new Connection({ readable, writable: new WritableStream() });
		const call = connection.bootstrap().call(method);
		sent(bytes.slice());
		const outcome = await call.result.catch((error: unknown) => error);
		const end = await connection.closed;
		expect(end).toBeInstanceOf(HeadstartError);
		if (typeof outcome === "string") answered += 1;
		else if (!(outcome instanceof HeadstartError))
			throw new Error(`${hex(bytes)} broke a call`, { cause: outcome });
	}
	expect(answered).toBeGreaterThan(0);
});
