import type { InstanceRecord, TraceEvent } from "../../shared/record.ts";
import { plainTexts } from "../plain.ts";
import { criticalPath } from "./critical.ts";
import { beginning, ending, type Span, size, spans } from "./spans.ts";

/** How a waterfall is drawn. */
export interface Style {
	/** Columns of the terminal. */
	width: number;
	color: boolean;
	/** The time that the whole width stands for, ns: to draw two waterfalls on one scale. */
	scale?: number;
}

const COLORS = { setup: 36, script: 35, rpc: 33, app: 32 } as const;
const EIGHTHS = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"] as const;

/** An instance's waterfall with its critical path and what was fetched or asked in vain, as lines for a terminal. */
export function renderTrace(record: InstanceRecord, style: Style): string {
	const trace = plainTexts(record);
	const lines = [
		`${trace.id}  ${trace.function}  ${trace.mode}  ${trace.state}`,
		"",
		...draw(trace.events, style),
	];
	const path = criticalPath(trace.events);
	if (path.length > 0) {
		const total = ending(trace.events) - beginning(trace.events);
		const steps = path.map(({ name, begin, end }) => `${name} ${ms(end - begin)}`);
		lines.push("", `critical path, ${ms(total)}: ${steps.join(" → ")}`);
	}
	for (const { content, bytes } of trace.unclaimed) {
		lines.push(`fetched and never claimed: ${content} (${size(bytes)})`);
	}
	for (const { content, code, nearest } of trace.missed) {
		lines.push(`asked and missed (${code}): ${content}${nearest ? `; the initscript sent ${nearest}` : ""}`);
	}
	if (trace.script?.error)
		lines.push(`the initscript ended: ${trace.script.error.message} (${trace.script.error.code})`);
	if (trace.script?.stack) lines.push(trace.script.stack);
	if (trace.error) lines.push(`failed: ${trace.error.message} (${trace.error.code})`);
	return lines.join("\n");
}

/** One line a span: its name, a bar from its beginning to its end, its length in ms. */
export function waterfall(events: readonly TraceEvent[], style: Style): string[] {
	return draw(plainTexts(events), style);
}

/** The same of texts that a terminal may have. */
function draw(events: readonly TraceEvent[], style: Style): string[] {
	const bars = spans(events);
	const from = beginning(events);
	const scale = style.scale ?? Math.max(ending(events) - from, 1);
	const labels = Math.min(40, Math.max(0, ...bars.map(({ name }) => name.length)));
	const columns = Math.max(20, style.width - labels - 26);
	return bars.map((span) => {
		const label = clip(span.name, labels).padEnd(labels);
		const drawn = bar((span.begin - from) / scale, (span.end - from) / scale, columns);
		const colored = style.color ? `\x1b[${COLORS[span.lane]}m${drawn}\x1b[0m` : drawn;
		const time = span.end > span.begin ? ms(span.end - span.begin) : `@ ${ms(span.begin - from)}`;
		return `${label} │${colored}│ ${time.padStart(10)}${span.note ? `  ${span.note}` : ""}`;
	});
}

/** A bar between two shares (0 to 1) of `columns`, exact to an eighth of a column at its end. */
export function bar(begin: number, end: number, columns: number): string {
	const at = Math.min(Math.max(begin, 0), 1) * columns;
	const until = Math.min(Math.max(end, 0), 1) * columns;
	const left = Math.min(Math.floor(at), columns - 1);
	// What ends before it begins is a point.
	const eighths = Math.max(0, Math.round((until - left) * 8));
	const full = Math.min(Math.floor(eighths / 8), columns - left);
	const rest = full < columns - left ? (EIGHTHS[eighths % 8] ?? "") : "";
	const drawn = begin === end ? "◆" : "█".repeat(full) + rest || "▏";
	return (" ".repeat(left) + drawn).padEnd(columns);
}

function clip(text: string, length: number): string {
	return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}

/** Nanoseconds for people, in ms. */
export function ms(nanos: number): string {
	return `${(nanos / 1e6).toFixed(nanos < 9.95e7 ? 1 : 0)} ms`;
}

/** The spans of a trace for programs. */
export function traceJson(trace: InstanceRecord): unknown {
	const from = beginning(trace.events);
	const relative = ({ lane, name, begin, end, note }: Span): unknown => ({
		lane,
		name,
		begin_ms: (begin - from) / 1e6,
		end_ms: (end - from) / 1e6,
		note,
	});
	return {
		...trace,
		spans: spans(trace.events).map(relative),
		critical_path: criticalPath(trace.events).map(relative),
	};
}
