import { expect, test } from "vitest";
import type { ScriptOp } from "../protocol.ts";
import { LimitReached } from "./failure.ts";
import { limits } from "./limits.ts";
import { Outbox } from "./outbox.ts";

class Host {
	readonly batches: ScriptOp[][] = [];
	readonly waiting: { resolve: () => void; reject: (error: Error) => void }[] = [];

	submit(ops: ScriptOp[]): Promise<void> {
		this.batches.push(ops);
		return new Promise((resolve, reject) => this.waiting.push({ resolve, reject }));
	}
}

const op = (id: number): ScriptOp => ({ op: "expectMsg", id: BigInt(id) });

test("what was never submitted comes back at the end", async () => {
	const host = new Host();
	const outbox = new Outbox(host);
	outbox.push(op(1));
	outbox.push(op(2));
	expect(await outbox.settle()).toEqual([op(1), op(2)]);
	expect(host.batches).toEqual([]);
});

test("the rest does not overtake a batch under way", async () => {
	const host = new Host();
	const outbox = new Outbox(host);
	outbox.push(op(1));
	outbox.flush();
	outbox.push(op(2));
	const settled = outbox.settle();
	expect(host.batches).toEqual([[op(1)], [op(2)]]);
	for (const { resolve } of host.waiting) resolve();
	expect(await settled).toEqual([]);
});

test("after a batch was taken the rest comes back again", async () => {
	const host = new Host();
	const outbox = new Outbox(host);
	outbox.push(op(1));
	outbox.flush();
	host.waiting[0]?.resolve();
	await scheduler.wait(0);
	outbox.push(op(2));
	expect(await outbox.settle()).toEqual([op(2)]);
});

test("a batch that the host did not take is an error at the end", async () => {
	const host = new Host();
	const outbox = new Outbox(host);
	outbox.push(op(1));
	outbox.flush();
	host.waiting[0]?.reject(new Error("the host is gone"));
	await expect(outbox.settle()).rejects.toThrow("the host is gone");
});

test("a batch leaves by itself when it is large", () => {
	const host = new Host();
	const outbox = new Outbox(host);
	for (let id = 0; id < limits.batchOps; id += 1) outbox.push(op(id));
	expect(host.batches.map((it) => it.length)).toEqual([limits.batchOps]);
	const data = new Uint8Array(limits.requestBytes);
	outbox.push(op(1));
	outbox.push({ op: "sendMsg", id: 1n, data });
	outbox.push({ op: "sendMsg", id: 2n, data });
	expect(host.batches.map((it) => it.length)).toEqual([limits.batchOps, 1, 1]);
});

test("too many calls, or too many bytes, are a limit", () => {
	const outbox = new Outbox(new Host());
	for (let id = 0; id < limits.ops; id += 1) outbox.push(op(id));
	expect(() => outbox.push(op(0))).toThrow(LimitReached);

	const heavy = new Outbox(new Host());
	const data = new Uint8Array(limits.requestBytes);
	expect(() => {
		for (let id = 0; id < 65; id += 1) heavy.push({ op: "sendMsg", id: BigInt(id), data });
	}).toThrow(LimitReached);
});
