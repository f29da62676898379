import { env } from "cloudflare:workers";
import { expect, test } from "vitest";
import type { InstanceRecord } from "../shared/record.ts";
import type { Log } from "./log.ts";

const { LOG } = env as unknown as { LOG: DurableObjectNamespace<Log> };

function record(id: string, startedAt: number): InstanceRecord {
	return {
		id,
		function: "imgrec",
		digest: "d",
		mode: "normal",
		state: "ended",
		startedAt,
		endedAt: startedAt + 1,
		invocations: 1,
		events: [{ at: 1, kind: "started" }],
		scriptLines: [],
		unclaimed: [],
		missed: [],
		divergences: 0,
	};
}

function begun(id: string, startedAt: number): InstanceRecord {
	const { endedAt: _, ...rest } = record(id, startedAt);
	return { ...rest, state: "running" };
}

test("what has ended is there as it ended, in this life of the host and the next", async () => {
	const log = LOG.getByName("ended");
	const now = Date.now();
	await log.begin("life 1", "t", begun("i-a", now));
	await log.finish("life 1", "t", record("i-a", now));
	expect(await log.get("life 2", "t", "i-a")).toEqual(record("i-a", now));
	expect(await log.get("life 2", "t", "i-b")).toBeUndefined();
});

test("what ends at about the same time is written together, and found before that", async () => {
	const log = LOG.getByName("together");
	const now = Date.now();
	const ids = Array.from({ length: 20 }, (_, index) => `i-${index}`);
	await Promise.all(ids.map((id, index) => log.finish("life", "t", record(id, now + index))));
	expect(await log.get("life", "t", "i-7")).toMatchObject({ id: "i-7", state: "ended" });
	await log.finish("life", "t", record("i-20", now + 20));
	expect((await log.list("life", "t", 100)).map(({ id }) => id)).toEqual([...ids, "i-20"].reverse());
	await log.finish("life", "t", record("i-21", now + 21));
	await log.drop("t");
	expect(await log.list("life", "t", 100)).toEqual([]);
});

test("what an earlier life left unfinished was interrupted", async () => {
	const log = LOG.getByName("interrupted");
	await log.begin("life 1", "t", begun("i-a", Date.now()));
	expect(await log.get("life 1", "t", "i-a")).toMatchObject({ state: "running" });
	expect(await log.get("life 2", "t", "i-a")).toMatchObject({
		state: "interrupted",
		error: { code: "interrupted" },
	});
	expect(await log.list("life 2", "t", 10)).toMatchObject([{ id: "i-a", state: "interrupted" }]);
});

test("the newest come first, and what is too old goes", async () => {
	const log = LOG.getByName("retention");
	const now = Date.now();
	const day = 24 * 3_600_000;
	await log.finish("life", "t", record("i-old", now - 8 * day));
	await log.finish("life", "t", record("i-a", now - 1));
	await log.finish("life", "t", record("i-b", now));
	expect((await log.list("life", "t", 10)).map(({ id }) => id)).toEqual(["i-b", "i-a"]);
	expect(await log.list("life", "t", 1)).toHaveLength(1);
});

test("a tenant's records are its own, and keep no other's out", async () => {
	const log = LOG.getByName("tenants");
	const now = Date.now();
	await log.finish("life", "a", record("i-a", now));
	await log.finish("life", "b", record("i-b", now));
	expect(await log.get("life", "b", "i-a")).toBeUndefined();
	expect(await log.list("life", "b", 10)).toMatchObject([{ id: "i-b" }]);
	await log.drop("a");
	expect(await log.list("life", "a", 10)).toEqual([]);
	expect(await log.list("life", "b", 10)).toHaveLength(1);
});

test("a record that told too much keeps its beginning", async () => {
	const log = LOG.getByName("large");
	const events = Array.from({ length: 20_000 }, (_, at) => ({ at, kind: "log", text: "grüß ".repeat(40) }));
	await log.finish("life", "t", { ...record("i-a", Date.now()), events });
	const kept = await log.get("life", "t", "i-a");
	expect(kept?.events.length).toBeGreaterThan(1000);
	expect(kept?.events).toEqual(events.slice(0, kept?.events.length));
});
