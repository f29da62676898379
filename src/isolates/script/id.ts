/** Ids of RPCs and messages (docs/architecture.md, "Ids and content"). */
import type { Id } from "../protocol.ts";

const OFFSET = 0xcbf29ce484222325n;
const PRIME = 0x100000001b3n;

/**
 * FNV-1a 64 of the text's UTF-8 bytes.
 *
 * @example fnv1a64("GET s3://models/weights.onnx")
 */
export function fnv1a64(text: string): Id {
	let hash = OFFSET;
	for (const byte of new TextEncoder().encode(text)) {
		hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * PRIME);
	}
	return hash;
}
