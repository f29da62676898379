/** Writes a bound into a module's memory, so that the engine holds it. */
import { MAX_PAGES, type ModuleShape, PAGE_BYTES, readModule } from "./module.ts";
import { ModuleError, Reader } from "./reader.ts";

/**
 * The module with a memory of at most `memoryBytes`: the same bytes when it says so itself, else a copy with another
 * memory section. Throws {@link ModuleError} when its minimum is above that, or when it breaks another rule.
 */
export function boundMemory(
	bytes: Uint8Array,
	memoryBytes: number,
	shape: ModuleShape = readModule(bytes),
): Uint8Array {
	const pages = Math.min(Math.floor(memoryBytes / PAGE_BYTES), MAX_PAGES);
	const { minimumPages, maximumPages } = shape.memory;
	if (minimumPages > pages) {
		throw new ModuleError(
			`memory: the module begins with ${minimumPages * PAGE_BYTES} bytes of at most ${memoryBytes}`,
		);
	}
	if (maximumPages !== undefined && maximumPages <= pages) return bytes;
	return replaceMemory(bytes, shape, [1, 1, ...leb128(minimumPages), ...leb128(pages)]);
}

/** The content of the memory section replaced; its header is its id and its length before it. */
function replaceMemory(bytes: Uint8Array, { memory }: ModuleShape, content: number[]): Uint8Array {
	const header = sectionStart(bytes, memory.start);
	const section = [5, ...leb128(content.length), ...content];
	const result = new Uint8Array(header + section.length + bytes.byteLength - memory.end);
	result.set(bytes.subarray(0, header));
	result.set(section, header);
	result.set(bytes.subarray(memory.end), header + section.length);
	return result;
}

/** Where the section begins whose content begins at `content`. */
function sectionStart(bytes: Uint8Array, content: number): number {
	const reader = new Reader(bytes, 8);
	for (;;) {
		const start = reader.offset;
		reader.byte();
		const length = reader.u32();
		if (reader.offset === content) return start;
		reader.part(length);
	}
}

/** An unsigned number in LEB128. */
export function leb128(value: number): number[] {
	const low = value & 0x7f;
	const rest = value >>> 7;
	return rest === 0 ? [low] : [low | 0x80, ...leb128(rest)];
}
