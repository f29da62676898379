import { ms, type Style, waterfall } from "../trace/render.ts";
import { beginning, ending, size } from "../trace/spans.ts";
import type { Start } from "./start.ts";

/** What the demo prints at its end: the label, the median start of each kind as a waterfall on one scale, the speedup. */
export function describeStarts(
	without: readonly Start[],
	withScript: readonly Start[],
	initscript: { language: string; bytes: number } | undefined,
	style: Style,
): string {
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
