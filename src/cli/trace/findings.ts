import { nearest } from "./nearest.ts";
import type { TraceEvent } from "./record.ts";

/** What the initscript and the application did not agree on. */
export interface Findings {
	/** Fetched by the initscript, and never claimed. */
	unclaimed: { content: string; bytes: number }[];
	/** Asked for by the application and not sent by the initscript; `nearest`: what the script did send that is most like it. */
	missed: { content: string; why: string; nearest: string | undefined }[];
}

export function findings(events: readonly TraceEvent[]): Findings {
	const sent = events.filter(({ kind }) => kind === "rpcAccepted");
	const contents = sent.flatMap(({ content }) => content ?? []);
	const served = new Set(events.filter(({ kind, error }) => kind === "served" && !error).map(({ id }) => id));
	const unclaimed = sent.flatMap(({ id, content }) => {
		const done = events.find((event) => event.kind === "rpcDone" && event.id === id);
		return content === undefined || served.has(id) || done?.error
			? []
			: [{ content, bytes: done?.bytes ?? 0 }];
	});
	const missed = events
		.filter(({ kind }) => kind === "called")
		.flatMap(({ content, id }) => {
			if (content === undefined) return [];
			const refused = events.find((event) => event.kind === "served" && event.error && event.id === id);
			return [{ content, why: refused?.error?.code ?? "miss", nearest: nearest(content, contents) }];
		});
	return { unclaimed, missed };
}
