import type { TraceEvent } from "../../shared/record.ts";

/** What is told in Server-Timing: name of the span, and the edge that ends it. All begin when the request came. */
const SPANS = [
	["started", "started"],
	["image", "imageUnpacked"],
	["sandbox", "sandboxCreated"],
	["initscript", "initscriptPulled"],
	["first-rpc", "rpcSent"],
	["app", "appConnected"],
	["taken", "invocationTaken"],
	["answer", "answerBegun"],
] as const;

/** The value of a Server-Timing header: milliseconds from the request to the first edge of each kind. */
export function serverTiming(events: readonly TraceEvent[]): string {
	const [first] = events;
	if (first === undefined) return "";
	return SPANS.flatMap(([name, kind]) => {
		const edge = events.find((event) => event.kind === kind);
		return edge === undefined ? [] : [`${name};dur=${((edge.at - first.at) / 1e6).toFixed(3)}`];
	}).join(", ");
}
