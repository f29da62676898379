import { ms, type Style, traceJson, waterfall } from "../trace/render.ts";
import { beginning, ending, size } from "../trace/spans.ts";
import type { Start } from "./start.ts";

/** The cold starts of both kinds, in the order in which they were. */
export interface Measured {
	without: readonly Start[];
	withScript: readonly Start[];
	initscript: { language: string; bytes: number } | undefined;
}

/** What the demo prints at its end: the label, the median start of each kind as a waterfall on one scale, the speedup. */
export function describeStarts({ without, withScript, initscript }: Measured, style: Style): string {
	const alone = median(without);
	const helped = median(withScript);
	const scale = Math.max(length(alone), length(helped));
	const script = initscript ? ` (${initscript.language}, ${size(initscript.bytes)})` : "";
	return [
		`It is a picture of: ${helped.label} (${Math.round(helped.score * 100)} %)`,
		"",
		`Without the initscript, ${ms(alone.nanos)} from the request to the inference:`,
		...waterfall(alone.record.events, { ...style, scale }),
		"",
		`With the initscript${script}, ${ms(helped.nanos)}:`,
		...waterfall(helped.record.events, { ...style, scale }),
		"",
		`${(alone.nanos / helped.nanos).toFixed(2)} times as fast (medians of ${without.length} cold starts in gVisor).`,
	].join("\n");
}

/** The same for programs. `start_ms`: from the request to the inference; `trace`: of the median start. */
export function startsJson({ without, withScript, initscript }: Measured): unknown {
	const alone = median(without);
	const helped = median(withScript);
	const summary = (starts: readonly Start[], { nanos, record }: Start): unknown => ({
		start_ms: { p50: nanos / 1e6, samples: starts.map(({ nanos }) => nanos / 1e6) },
		trace: traceJson(record),
	});
	return {
		workload: "imgrec",
		isolation: "gvisor",
		label: helped.label,
		score: helped.score,
		speedup: alone.nanos / helped.nanos,
		initscript,
		without: summary(without, alone),
		with: summary(withScript, helped),
	};
}

function length({ record }: Start): number {
	return Math.max(1, ending(record.events) - beginning(record.events));
}

/** The start in the middle; of an even number the faster of the two. */
function median(starts: readonly Start[]): Start {
	const sorted = starts.toSorted((a, b) => a.nanos - b.nanos);
	const middle = sorted[Math.floor((sorted.length - 1) / 2)];
	if (!middle) throw new Error("no start");
	return middle;
}
