/** The names of the classes, from a model's metadata: the engine's interface does not tell them. */

/** Fields of ModelProto and StringStringEntryProto in ONNX's schema. */
const METADATA = 14;
const [KEY, VALUE] = [1, 2];

/** Throws for what is no ONNX model, or one without names. */
export function classesOf(model: Uint8Array): string[] {
	const text = new TextDecoder();
	for (const [field, entry] of fields(model)) {
		if (field !== METADATA) continue;
		const parts = new Map(fields(entry));
		if (text.decode(parts.get(KEY)) === "classes") return text.decode(parts.get(VALUE)).split("\n");
	}
	throw new Error("the model does not name its classes");
}

/** The fields of a message of protocol buffers that have a length: number and bytes. */
function* fields(message: Uint8Array): Generator<[number, Uint8Array]> {
	let at = 0;
	const varint = (): number => {
		for (let value = 0, scale = 1; scale < 2 ** 53; scale *= 128) {
			const byte = message[at++];
			if (byte === undefined) break;
			value += (byte & 127) * scale;
			if (byte < 128) return value;
		}
		throw new Error("the model is damaged");
	};
	while (at < message.length) {
		const tag = varint();
		if ((tag & 7) === 0) varint();
		else if ((tag & 7) === 2) {
			const end = varint() + at;
			if (end > message.length) throw new Error("the model is cut off");
			yield [tag >>> 3, message.subarray(at, end)];
			at = end;
		} else throw new Error("the model is damaged");
	}
}
