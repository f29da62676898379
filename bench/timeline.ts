import type { TraceEvent } from "../src/shared/record.ts";

/** The marks that apps/imgrec prints (docs/benchmarks.md). */
export const BYTES_READY = "mark: bytes ready";
export const INFERENCE_BEGINS = "mark: inference begins";

/** A timeline lacks what a figure needs. */
export class IncompleteTimeline extends Error {
	override name = "IncompleteTimeline";
}

export function first(edges: readonly TraceEvent[], kind: string): TraceEvent {
	const edge = edges.find((candidate) => candidate.kind === kind);
	if (edge === undefined) throw new IncompleteTimeline(`no ${kind} event among ${edges.length}`);
	return edge;
}

/** The caller's request; where what is dropped before it is no part of the start, the bridge's `started`. */
export function asked(edges: readonly TraceEvent[]): TraceEvent {
	return edges.find(({ kind }) => kind === "received") ?? first(edges, "started");
}

function mark(edges: readonly TraceEvent[], text: string): TraceEvent {
	const edge = edges.find((candidate) => candidate.kind === "mark" && candidate.text?.startsWith(text));
	if (edge === undefined) {
		const marks = edges.filter((candidate) => candidate.kind === "mark").map((candidate) => candidate.text);
		throw new IncompleteTimeline(`no "${text}" among the marks: ${JSON.stringify(marks)}`);
	}
	return edge;
}

const ms = (from: TraceEvent, to: TraceEvent): number => (to.at - from.at) / 1e6;

/** The start: the caller's request → the app begins inference, milliseconds. */
export function startMs(edges: readonly TraceEvent[]): number {
	return ms(first(edges, "received"), mark(edges, INFERENCE_BEGINS));
}

/** What only the app can do once its bytes are there, milliseconds. */
export function loadMs(edges: readonly TraceEvent[]): number {
	return ms(mark(edges, BYTES_READY), mark(edges, INFERENCE_BEGINS));
}

/** Of HTTP, all and a range; of the protocols that have none. */
const RECEIVED: readonly number[] = [200, 206, 0];

/** The caller's request → the last reply of the initscript is complete, milliseconds. */
export function fetchMs(edges: readonly TraceEvent[]): number {
	const done = edges.filter((edge) => edge.kind === "rpcDone");
	const failed = done.find(({ error, status = 0 }) => error !== undefined || !RECEIVED.includes(status));
	if (failed !== undefined) {
		throw new IncompleteTimeline(`an RPC ended with ${failed.error?.code ?? `status ${failed.status}`}`);
	}
	const last = done.at(-1);
	if (last === undefined) throw new IncompleteTimeline("no rpcDone event");
	return ms(asked(edges), last);
}

/** The caller's request → the first byte of the first RPC is with the kernel, milliseconds. */
export function firstRpcMs(edges: readonly TraceEvent[]): number {
	return ms(first(edges, "received"), first(edges, "rpcSent"));
}

/** The only RPC: its first byte with the kernel → its last byte in the segment. */
export function transfer(edges: readonly TraceEvent[]): { bytes: number; seconds: number } {
	const done = first(edges, "rpcDone");
	if (done.status !== 200)
		throw new IncompleteTimeline(`the RPC ended with ${done.error?.code ?? `status ${done.status}`}`);
	return { bytes: done.bytes ?? 0, seconds: ms(first(edges, "rpcSent"), done) / 1000 };
}

/** How many calls the app asked the bridge for, because the initscript had not sent what it wanted. */
export function appCalls(edges: readonly TraceEvent[]): number {
	return edges.filter((edge) => edge.kind === "called").length;
}
