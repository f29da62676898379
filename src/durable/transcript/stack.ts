import { originalPositionFor, TraceMap } from "@jridgewell/trace-mapping";

/** Names the places of a stack by the TypeScript that they were compiled from. Lines that are not in the map stay. */
export function mapStack(stack: string, sourceMap: string | undefined): string {
	const map = parse(sourceMap);
	if (map === undefined) return stack;
	return stack.replaceAll(
		/(\()?([^\s()]+?):(\d+):(\d+)(\))?/g,
		(place, open = "", _file, line, column, close = "") => {
			const position = { line: Number(line), column: Math.max(0, Number(column) - 1) };
			const { source, line: at, column: from } = originalPositionFor(map, position);
			return source === null ? place : `${open}${source}:${at}:${from + 1}${close}`;
		},
	);
}

function parse(sourceMap: string | undefined): TraceMap | undefined {
	if (sourceMap === undefined) return undefined;
	try {
		return new TraceMap(sourceMap);
	} catch {
		return undefined;
	}
}
