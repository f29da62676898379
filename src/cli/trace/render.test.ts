import { expect, test } from "vitest";
import type { InstanceRecord, TraceEvent } from "../../shared/record.ts";
import { criticalPath } from "./critical.ts";
import { bar, renderTrace, traceJson } from "./render.ts";

const model = "GET s3://models/weights.onnx";
const photo = "GET s3://inputs/cat.png";
const at = (ms: number, kind: string, rest: Partial<TraceEvent> = {}): TraceEvent => ({
	at: 5e9 + ms * 1e6,
	kind,
	...rest,
});

const events: TraceEvent[] = [
	at(0, "received"),
	at(1, "started"),
	at(1.5, "noted", { text: "initscript started" }),
	at(2, "rpcAccepted", { id: "1", content: model }),
	at(2, "rpcAccepted", { id: "2", content: photo }),
	at(2, "published", { id: "1" }),
	at(2.5, "noted", { text: "initscript ended: exit 0" }),
	at(40, "sandboxCreated"),
	at(80, "rpcDone", { id: "2", status: 200, bytes: 4_900_000 }),
	at(150, "appConnected"),
	at(160, "invocationTaken"),
	at(165, "called", { id: "3", content: "GET s3://inputs/dog.png", nanos: 4e6, bytes: 10 }),
	at(200, "rpcDone", { id: "1", status: 200, bytes: 13_300_000 }),
	at(200, "served", { id: "1", nanos: 30e6, bytes: 13_300_000 }),
	at(210, "mark", { text: "mark: inference begins" }),
	at(230, "answerBegun"),
	at(231, "answerEnded"),
];
const trace: InstanceRecord = {
	id: "i-abc",
	function: "imgrec",
	digest: "0".repeat(64),
	mode: "normal",
	state: "ended",
	startedAt: 0,
	invocations: 1,
	events,
	scriptLines: [],
	unclaimed: [{ id: "2", content: photo, bytes: 4_900_000 }],
	missed: [{ id: "3", content: "GET s3://inputs/dog.png", code: "miss", nearest: photo }],
	divergences: 0,
};

test("a waterfall has a line for each span", () => {
	expect(renderTrace(trace, { width: 100, color: false })).toMatchInlineSnapshot(`
		"i-abc  imgrec  normal  ended

		route                        │▎                                             │     1.0 ms
		sandbox                      │████████                                      │    39.0 ms
		boot                         │       ██████████████████████▉                │     110 ms
		imports                      │                             ██▉              │    10.0 ms
		initscript                   │▌                                             │     1.0 ms  exit 0
		GET s3://models/weights.onnx │███████████████████████████████████████▉      │     198 ms  13.3 MB
		GET s3://inputs/cat.png      │███████████████▉                              │    78.0 ms  4.9 MB
		application                  │                               █              │     1.0 ms
		call GET s3://inputs/dog.png │                                ▉             │     4.0 ms  10 B
		application                  │                                █▉            │     5.0 ms
		claim                        │                                 ██████▉      │    30.0 ms  13.3 MB
		application                  │                                       ███████│    31.0 ms
		mark: inference begins       │                                         ◆    │   @ 210 ms

		critical path, 231 ms: route 1.0 ms → initscript 0.5 ms → GET s3://models/weights.onnx 198 ms → application 31.0 ms
		fetched and never claimed: GET s3://inputs/cat.png (4.9 MB)
		asked and missed (miss): GET s3://inputs/dog.png; the initscript sent GET s3://inputs/cat.png"
	`);
});

test("messages and connections of the application are moments", () => {
	const both = [
		...events,
		at(205, "appMessage", { id: "9", bytes: 2_000 }),
		at(206, "connTaken", { id: "1", content: "tcp://db:1", text: "socket" }),
		at(207, "connTaken", { id: "2", content: "tcp://db:2", error: { code: "connectionReset", message: "" } }),
		at(208, "connOffered", { id: "3", content: "tcp://db:1" }),
		at(209, "connReleased", { id: "4", content: "tcp://db:4" }),
	];
	const text = renderTrace({ ...trace, events: both }, { width: 120, color: false });
	expect(text).toMatch(/message to the initscript, 2.0 kB .*◆.*@ 205 ms/);
	expect(text).toMatch(/takes the connection to tcp:\/\/db:1 .*@ 206 ms/);
	expect(text).toMatch(/tcp:\/\/db:2 → connectionReset .*@ 207 ms/);
	expect(text).toMatch(/hands a connection to tcp:\/\/db:1 over .*@ 208 ms/);
	expect(text).toMatch(/waste: connection to tcp:\/\/db:4 .*@ 209 ms/);
});

test("a reply in a file of the application's says in which, and where", () => {
	const place = "file:/var/cache/memcached/memory";
	const both = [
		...events,
		at(2, "rpcAccepted", { id: "7", content: "GET s3://snapshots/first" }),
		at(2, "rpcAccepted", { id: "8", content: "GET s3://snapshots/second" }),
		at(90, "rpcDone", { id: "7", status: 206, bytes: 2_000, place, offset: 0 }),
		at(95, "rpcDone", { id: "8", status: 206, bytes: 2_000, place, offset: 2_000 }),
	];
	const text = renderTrace({ ...trace, events: both }, { width: 120, color: false });
	expect(text).toMatch(/snapshots\/first .* 2\.0 kB → file:\/var\/cache\/memcached\/memory$/m);
	expect(text).toMatch(
		/snapshots\/second .* 2\.0 kB → file:\/var\/cache\/memcached\/memory from byte 2000$/m,
	);
	expect(traceJson({ ...trace, events: both })).toMatchObject({
		events: expect.arrayContaining([expect.objectContaining({ id: "8", place, offset: 2_000 })]),
		spans: expect.arrayContaining([
			expect.objectContaining({ lane: "rpc", note: `2.0 kB → ${place} from byte 2000` }),
		]),
	});
});

test("the critical path goes through the RPC that the application waited for", () => {
	expect(criticalPath(events).map(({ name }) => name)).toEqual(["route", "initscript", model, "application"]);
});

test("an initscript's download comes before it, and is on the critical path", () => {
	const pulled = at(1.8, "initscriptPulled", { bytes: 4185, nanos: 0.7e6 });
	const both = [...events.slice(0, 3), pulled, ...events.slice(3)];
	const text = renderTrace({ ...trace, events: both }, { width: 120, color: false });
	expect(text).toMatch(/initscript downloaded .*0\.7 ms {2}4\.2 kB/);
	const path = criticalPath(both).map(({ name }) => name);
	expect(path).toEqual(["route", "initscript downloaded", "initscript", model, "application"]);
});

test("the critical path goes through the setup when nothing was waited for", () => {
	const early = events.map((event) => (event.kind === "served" ? { ...event, nanos: 0 } : event));
	expect(criticalPath(early).map(({ name }) => name)).toEqual([
		"route",
		"sandbox",
		"boot",
		"imports",
		"application",
		"call GET s3://inputs/dog.png",
		"application",
	]);
});

test("bars keep to their columns", () => {
	for (let begin = 0; begin <= 1; begin += 0.01) {
		for (let end = begin; end <= 1; end += 0.01) expect([...bar(begin, end, 30)]).toHaveLength(30);
	}
});

test("an empty and a broken-off record can be shown", () => {
	for (let length = 0; length < events.length; length++) {
		expect(() =>
			renderTrace({ ...trace, events: events.slice(0, length) }, { width: 80, color: true }),
		).not.toThrow();
	}
});

test("a span that ends before it begins is drawn as a point", () => {
	expect(bar(0.9, 0.1, 10)).toBe("         ▏");
});
