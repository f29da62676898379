import { HeadstartError } from "../../shared/error.ts";

/** An invocation's body, whole. Throws `payloadTooLarge` when it has more than `limit` bytes. */
export async function readEvent(request: Request, limit: number): Promise<Uint8Array<ArrayBuffer>> {
	if (request.body === null) return new Uint8Array(0);
	const announced = request.headers.get("content-length");
	checkLength(announced, limit);
	// A body of a known length is read in one go.
	if (announced !== null) return new Uint8Array(await request.arrayBuffer());
	const parts: Uint8Array[] = [];
	let length = 0;
	for await (const part of request.body) {
		length += part.length;
		if (length > limit) throw tooLarge(limit);
		parts.push(part);
	}
	const whole = new Uint8Array(length);
	let at = 0;
	for (const part of parts) {
		whole.set(part, at);
		at += part.length;
	}
	return whole;
}

/** Refuses a body that says itself that it is too long. */
export function checkLength(announced: string | null | undefined, limit: number): void {
	if (Number(announced ?? 0) > limit) throw tooLarge(limit);
}

function tooLarge(limit: number): HeadstartError {
	return new HeadstartError("payloadTooLarge", `the event has more than ${limit} bytes (app.limits.event)`);
}
