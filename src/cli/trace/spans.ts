import type { TraceEvent } from "../../shared/record.ts";

/** A bar of the waterfall. Times in ns. */
export interface Span {
	lane: "setup" | "script" | "rpc" | "app";
	name: string;
	begin: number;
	end: number;
	/** What is said behind the bar: bytes, errors. */
	note?: string;
	/** The RPC or message that it is about. */
	id?: string;
}

/** The bars of an instance's first invocation, in the order in which they are shown. */
export function spans(events: readonly TraceEvent[]): Span[] {
	return [...setup(events), ...script(events), ...rpcs(events), ...application(events)];
}

function first(events: readonly TraceEvent[], kind: string): TraceEvent | undefined {
	return events.find((event) => event.kind === kind);
}

/** When the first invocation was asked for. */
export function beginning(events: readonly TraceEvent[]): number {
	return (first(events, "received") ?? first(events, "started") ?? events[0])?.at ?? 0;
}

/** When the first invocation's answer was there, or the last thing happened. */
export function ending(events: readonly TraceEvent[]): number {
	return (first(events, "answerEnded") ?? first(events, "sandboxExited") ?? events.at(-1))?.at ?? 0;
}

function setup(events: readonly TraceEvent[]): Span[] {
	const image = first(events, "imageUnpacked");
	const steps = [
		["route", "received", "started"],
		["pull", "started", "imagePulled"],
		["unpack", "imagePulled", "imageUnpacked"],
		["sandbox", image ? "imageUnpacked" : "started", "sandboxCreated"],
		["boot", "sandboxCreated", "appConnected"],
		["imports", "appConnected", "invocationTaken"],
	] as const;
	return steps.flatMap(([name, from, to]): Span[] => {
		const begin = first(events, from);
		const end = first(events, to);
		if (!begin || !end) return [];
		const note = name === "pull" || name === "unpack" ? { note: size(end.bytes ?? 0) } : {};
		return [{ lane: "setup", name, begin: begin.at, end: end.at, ...note }];
	});
}

function script(events: readonly TraceEvent[]): Span[] {
	const noted = (text: string): TraceEvent | undefined =>
		events.find((event) => event.kind === "noted" && event.text?.startsWith(text));
	const end = noted("initscript ended");
	// One that began later than its instance says so.
	const begin = noted("initscript started") ?? (end && first(events, "started"));
	if (!begin) return [];
	const pulled = first(events, "initscriptPulled");
	const note = end?.text?.slice("initscript ended".length).replace(/^[:\s]+/, "");
	return [
		...(pulled ? [downloaded(pulled)] : []),
		{
			lane: "script",
			name: "initscript",
			begin: pulled?.at ?? begin.at,
			end: end?.at ?? ending(events),
			...(note ? { note } : {}),
		},
	];
}

function downloaded({ at, nanos = 0, bytes = 0 }: TraceEvent): Span {
	return { lane: "script", name: "initscript downloaded", begin: at - nanos, end: at, note: size(bytes) };
}

function rpcs(events: readonly TraceEvent[]): Span[] {
	return events
		.filter(({ kind }) => kind === "rpcAccepted")
		.map((accepted) => {
			const done = events.find(({ kind, id }) => kind === "rpcDone" && id === accepted.id);
			return {
				lane: "rpc",
				name: accepted.content ?? accepted.id ?? "RPC",
				begin: accepted.at,
				end: done?.at ?? ending(events),
				note: `${outcome(done)}${shared(events, accepted.id)}`,
				...(accepted.id === undefined ? {} : { id: accepted.id }),
			};
		});
}

/** What is said of a reply that another run of the function had asked for. */
function shared(events: readonly TraceEvent[], rpc: string | undefined): string {
	const event = events.find(({ kind, id }) => kind === "rpcShared" && id === rpc);
	return event === undefined ? "" : `, shared (asked for ${((event.nanos ?? 0) / 1e6).toFixed(0)} ms before)`;
}

function outcome(done: TraceEvent | undefined): string {
	if (!done) return "not finished";
	if (done.error) return done.error.code;
	const status = done.status !== undefined && done.status >= 400 ? `status ${done.status}, ` : "";
	return `${status}${size(done.bytes ?? 0)}${destination(done)}`;
}

/** Where a reply lies that the initscript has sent to a file. */
function destination({ place, offset = 0 }: TraceEvent): string {
	if (place === undefined) return "";
	return offset === 0 ? ` → ${place}` : ` → ${place} from byte ${offset}`;
}

/** The application's own time, cut where it waited for a message or for a call. */
function application(events: readonly TraceEvent[]): Span[] {
	const taken = first(events, "invocationTaken");
	if (!taken) return [];
	const end = ending(events);
	const bars: Span[] = [];
	let since = taken.at;
	for (const event of events) {
		if (event.at < taken.at || event.at > end) continue;
		const wait = waitOf(event);
		if (wait && wait.end - wait.begin > WAIT_SHOWN) {
			if (wait.begin > since) bars.push({ lane: "app", name: "application", begin: since, end: wait.begin });
			bars.push(wait);
			since = wait.end;
		} else if (wait) {
			bars.push(wait);
		} else {
			const name = pointOf(event);
			if (name !== undefined) bars.push({ lane: "app", name, begin: event.at, end: event.at });
		}
	}
	if (end > since) bars.push({ lane: "app", name: "application", begin: since, end });
	return bars.sort((a, b) => a.begin - b.begin);
}

/** What happens at one moment. */
function pointOf({ kind, text, content = "", bytes = 0, error }: TraceEvent): string | undefined {
	switch (kind) {
		case "mark":
			return text ?? "mark";
		case "appMessage":
			return `message to the initscript, ${size(bytes)}`;
		case "connTaken":
			return error ? `${content} → ${error.code}` : `takes the connection to ${content}`;
		case "connOffered":
			return `hands a connection to ${content} over`;
		case "connReleased":
			return `waste: connection to ${content}`;
		default:
			return undefined;
	}
}

/** Shorter waits do not cut the application's bar, ns. */
const WAIT_SHOWN = 200_000;

function waitOf(event: TraceEvent): Span | undefined {
	if (event.kind === "served") {
		const name = event.error ? `claim → ${event.error.code}` : "claim";
		return { lane: "app", name, begin: event.at - (event.nanos ?? 0), end: event.at, ...labels(event) };
	}
	if (event.kind === "called") {
		const name = `call ${event.content ?? ""}`;
		return { lane: "app", name, begin: event.at - (event.nanos ?? 0), end: event.at, ...labels(event) };
	}
	return undefined;
}

function labels(event: TraceEvent): { note?: string; id?: string } {
	return {
		...(event.error ? { note: event.error.code } : { note: size(event.bytes ?? 0) }),
		...(event.id === undefined ? {} : { id: event.id }),
	};
}

/** Bytes for people. */
export function size(bytes: number): string {
	if (bytes < 1000) return `${bytes} B`;
	return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
