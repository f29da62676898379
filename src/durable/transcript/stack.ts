import { originalPositionFor, TraceMap } from "@jridgewell/trace-mapping";

/**
 * Names the places of a stack by the TypeScript that they were compiled from. Words that are not in the map stay. A script says
 * what its stack is: each word is looked at once.
 */
export function mapStack(stack: string, sourceMap: string | undefined): string {
	const map = parse(sourceMap);
	if (map === undefined) return stack;
	try {
		return inSource(stack, map);
	} catch {
		return stack;
	}
}

/** Throws where the map, which the tenant has uploaded, is not one. */
function inSource(stack: string, map: TraceMap): string {
	return stack.replaceAll(/[^\s()]+/g, (word) => {
		const [, line, column] = /:([1-9]\d{0,8}):(\d{1,9})$/.exec(word) ?? [];
		if (line === undefined) return word;
		const position = { line: Number(line), column: Math.max(0, Number(column) - 1) };
		const { source, line: at, column: from } = originalPositionFor(map, position);
		return source === null ? word : `${source}:${at}:${from + 1}`;
	});
}

function parse(sourceMap: string | undefined): TraceMap | undefined {
	if (sourceMap === undefined) return undefined;
	try {
		return new TraceMap(sourceMap);
	} catch {
		return undefined;
	}
}
