import type { TraceEvent } from "../../shared/record.ts";
import { beginning, ending, type Span, spans } from "./spans.ts";

/**
 * The chain of spans that the first answer had to wait for, first to last: from the end backwards, the application's own
 * time; where it waited for a message, the RPC behind that message; and what came before.
 */
export function criticalPath(events: readonly TraceEvent[]): Span[] {
	const all = spans(events).filter(({ begin, end }) => end > begin);
	const path: Span[] = [];
	let at = ending(events);
	const start = beginning(events);
	while (at > start) {
		const previous = before(all, at, path);
		if (!previous) break;
		const cause =
			previous.lane === "app" && previous.id !== undefined ? rpcBehind(all, previous, events) : undefined;
		const step = cause ?? previous;
		path.unshift({ ...step, end: Math.min(step.end, at) });
		at = step.begin;
	}
	return path;
}

/** A span of the application or of the setup that runs into `at`; the initscript's where an RPC of it began. */
function before(all: readonly Span[], at: number, path: readonly Span[]): Span | undefined {
	const next = path[0];
	const lanes = next?.lane === "rpc" || next?.lane === "script" ? ["script"] : ["app", "setup"];
	const running = all.filter(({ lane, begin, end }) => lanes.includes(lane) && begin < at && end <= at + 1);
	if (lanes.includes("script")) {
		// Its download, where it has one, and itself.
		const script = all.filter(({ lane, begin }) => lane === "script" && begin < at).at(-1);
		if (script && (next?.lane === "rpc" || script.end <= at)) return script;
		return all.filter(({ lane, end }) => lane === "setup" && end <= at + 1).at(-1);
	}
	return running.reduce<Span | undefined>(
		(best, span) => (best === undefined || span.end >= best.end ? span : best),
		undefined,
	);
}

function rpcBehind(all: readonly Span[], wait: Span, events: readonly TraceEvent[]): Span | undefined {
	const message = events.find(({ kind, id }) => kind === "published" && id === wait.id);
	return message && all.find(({ lane, id, end }) => lane === "rpc" && id === wait.id && end > wait.begin);
}
