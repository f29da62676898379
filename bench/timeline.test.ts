import { expect, it } from "vitest";
import type { TraceEvent } from "../src/shared/record.ts";
import { appCalls, fetchMs, firstRpcMs, IncompleteTimeline, loadMs, startMs, transfer } from "./timeline.ts";

const edges: TraceEvent[] = [
	{ kind: "received", at: 1_000_000 },
	{ kind: "started", at: 1_500_000 },
	{ kind: "rpcSent", at: 2_600_000 },
	{ kind: "rpcSent", at: 2_700_000 },
	{ kind: "rpcDone", at: 102_600_000, status: 200, bytes: 1000 },
	{ kind: "rpcDone", at: 201_000_000, status: 200, bytes: 5000 },
	{ kind: "mark", at: 300_000_000, text: "mark: bytes ready" },
	{ kind: "mark", at: 341_000_000, text: "mark: inference begins (warm caches)" },
];

it("reads the spans that the figures are made of", () => {
	expect(startMs(edges)).toBe(340);
	expect(loadMs(edges)).toBe(41);
	expect(fetchMs(edges)).toBe(200);
	expect(firstRpcMs(edges)).toBeCloseTo(1.6);
	expect(transfer(edges)).toEqual({ bytes: 1000, seconds: 0.1 });
	expect(appCalls(edges)).toBe(0);
});

it("says what is missing", () => {
	expect(() => startMs(edges.slice(0, 6))).toThrow(IncompleteTimeline);
	expect(() => startMs(edges.slice(0, 7))).toThrow(
		/no "mark: inference begins" among the marks: \["mark: bytes ready"\]/,
	);
	expect(() => fetchMs(edges.slice(0, 2))).toThrow(/no rpcDone/);
});

it("refuses a start whose fetch failed", () => {
	expect(() => fetchMs([...edges, { kind: "rpcDone", at: 3e8, status: 403 }])).toThrow(/status 403/);
	expect(() =>
		fetchMs([
			...edges,
			{ kind: "rpcDone", at: 3e8, status: 0, error: { code: "bodyTruncated", message: "" } },
		]),
	).toThrow(/bodyTruncated/);
});
