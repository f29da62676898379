/** Stacks of bundled scripts, in terms of their sources. */
import { originalPositionFor, TraceMap } from "@jridgewell/trace-mapping";

/**
 * Replaces places in the bundle (`script.js:1:234`) by those in its sources. A stack without such places, or a map that is
 * none, comes back as it is.
 *
 * @example mapStack("Error: no\n    at a (script.js:1:27)", sourceMap) // "Error: no\n    at a (initscript.ts:3:8)"
 */
export function mapStack(stack: string, sourceMap: string): string {
	let map: TraceMap;
	try {
		map = new TraceMap(sourceMap);
	} catch {
		return stack;
	}
	return stack.replace(/\bscript\.js:(\d+):(\d+)/g, (place, line: string, column: string) => {
		const lineNumber = Number(line);
		if (lineNumber < 1) return place;
		const found = originalPositionFor(map, { line: lineNumber, column: Math.max(Number(column) - 1, 0) });
		return found.source === null ? place : `${found.source}:${found.line}:${found.column + 1}`;
	});
}
