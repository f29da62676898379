import { expect, test } from "vitest";
import type { Event } from "../../bridge/generated/bridge.ts";
import { traceEvent } from "./record.ts";

function done(place: string): Event {
	const reply = { status: 200, segment: 0, offset: 4096n, length: 9n, headers: [], attempts: 1, place };
	return {
		seq: 1n,
		at: 5n,
		which: "rpcDone",
		rpcDone: {
			rpc: 7n,
			reply: { ...reply, inlined: new Uint8Array() },
			error: { code: "ok", message: "" },
		},
	};
}

test("a reply in a file of the application's is told with its place, one in private memory without", () => {
	const told = { at: 5, kind: "rpcDone", id: "7", status: 200, bytes: 9, attempts: 1 };
	expect(traceEvent(done("file:/tmp/state"))).toEqual({ ...told, place: "file:/tmp/state", offset: 4096 });
	expect(traceEvent(done(""))).toEqual(told);
});
