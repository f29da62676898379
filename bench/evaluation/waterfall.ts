/** What the time of a start went to: the parts of a waterfall, from an instance's timeline. */
import type { TraceEvent } from "../../src/shared/record.ts";

/** A part of a start; `begin` and `end` are milliseconds since the caller's request. */
export interface Segment {
	/** "setup": the platform's; "script": the initscript's; "app": the application's own. */
	lane: "setup" | "script" | "app";
	name: string;
	begin: number;
	end: number;
}

/** An edge that a part begins or ends with: a kind of event, or the beginning of a mark. */
export type Edge = { kind: string } | { mark: string };

/** The application's own parts: from the edge before (or what is said) to this one. */
export interface Part {
	name: string;
	from: Edge;
	to: Edge;
}

function find(events: readonly TraceEvent[], edge: Edge): TraceEvent | undefined {
	return events.find((event) =>
		"kind" in edge ? event.kind === edge.kind : event.kind === "mark" && event.text?.startsWith(edge.mark),
	);
}

function noted(events: readonly TraceEvent[], text: string): TraceEvent | undefined {
	return events.find(({ kind, text: said }) => kind === "noted" && said?.startsWith(text));
}

/**
 * The parts of a start from `zero`, in nanoseconds of the timeline's clock, up to `end`: the platform's, the initscript's, and those of
 * the application that are named. A part whose edges are not there is left out: so an image that the node has shows no pull.
 */
export function waterfall(
	events: readonly TraceEvent[],
	zero: number,
	end: number,
	parts: readonly Part[] = [],
): Segment[] {
	const segments: Segment[] = [];
	const add = (
		lane: Segment["lane"],
		name: string,
		from: number | undefined,
		to: number | undefined,
	): void => {
		if (from === undefined || to === undefined || from >= end) return;
		segments.push({ lane, name, begin: (from - zero) / 1e6, end: (Math.min(to, end) - zero) / 1e6 });
	};
	const at = (edge: Edge): number | undefined => find(events, edge)?.at;
	const started = at({ kind: "started" });
	const pulled = at({ kind: "imagePulled" });
	const unpacked = at({ kind: "imageUnpacked" });
	const created = at({ kind: "sandboxCreated" });
	if (started !== zero) add("setup", "route", zero, started);
	add("setup", "pull", started, pulled);
	add("setup", "unpack", pulled, unpacked);
	add("setup", "sandbox", unpacked ?? started, created);
	for (const { name, from, to } of parts) add("app", name, at(from), at(to));
	const first = find(events, { kind: "rpcAccepted" });
	const downloaded = find(events, { kind: "initscriptPulled" });
	if (downloaded) add("script", "download", downloaded.at - (downloaded.nanos ?? 0), downloaded.at);
	add("script", "start", downloaded?.at ?? zero, first?.at);
	const rpcs = events.filter(({ kind }) => kind === "rpcDone" || kind === "rpcFailed").map(({ at }) => at);
	add("script", "RPCs", first?.at, rpcs.length === 0 ? undefined : Math.max(...rpcs));
	add("script", "done", noted(events, "initscript ended")?.at, noted(events, "initscript ended")?.at);
	return segments;
}
