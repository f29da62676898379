/** What a handler's result says. */
export interface Answer {
	status: number;
	headers: [string, string][];
	pieces: Iterable<unknown> | AsyncIterable<unknown>;
}

/** `{ status, headers, body }`, each of which may be missing. */
interface Explicit {
	status?: number;
	headers?: Record<string, string>;
	body?: unknown;
}

/**
 * Text and bytes are the body; undefined and null an empty one; an iterable is sent piece by piece; an object with nothing but
 * status, headers and body is all three; anything else its JSON. Throws TypeError for what has no JSON.
 */
export function answerOf(result: unknown): Answer {
	const { status = 200, headers = {}, body } = isExplicit(result) ? result : { body: result };
	if (!Number.isInteger(status) || status < 100 || status > 599) throw new TypeError(`status ${status}`);
	const [type, pieces] = piecesOf(body);
	const pairs = Object.entries(headers).map(([name, value]): [string, string] => [name, String(value)]);
	if (type !== undefined && !pairs.some(([name]) => name.toLowerCase() === "content-type")) {
		pairs.push(["content-type", type]);
	}
	return { status, headers: pairs, pieces };
}

function isExplicit(result: unknown): result is Explicit {
	if (typeof result !== "object" || result === null || !("status" in result)) return false;
	return Object.keys(result).every((key) => ["status", "headers", "body"].includes(key));
}

function piecesOf(body: unknown): [type: string | undefined, pieces: Answer["pieces"]] {
	if (body === undefined || body === null) return [undefined, []];
	if (typeof body === "string") return ["text/plain; charset=utf-8", [body]];
	if (body instanceof Uint8Array) return ["application/octet-stream", [body]];
	if (typeof body === "object" && !Array.isArray(body)) {
		if (Symbol.asyncIterator in body) {
			return ["application/octet-stream", body as AsyncIterable<unknown>];
		}
		if (Symbol.iterator in body) return ["application/octet-stream", body as Iterable<unknown>];
	}
	const json = JSON.stringify(body);
	if (json === undefined) throw new TypeError(`a handler cannot return a ${typeof body}`);
	return ["application/json", [json]];
}

/** A piece of an answer. Throws TypeError if it is neither bytes nor text. */
export function bytesOf(piece: unknown): Uint8Array {
	if (typeof piece === "string") return new TextEncoder().encode(piece);
	if (piece instanceof Uint8Array) return piece;
	throw new TypeError(`a piece of an answer is bytes or text, not a ${typeof piece}`);
}
