import { HeadstartError } from "../../shared/error.ts";

/** An invocation's body, whole. Throws `payloadTooLarge` when it has more than `limit` bytes. */
export async function readEvent(request: Request, limit: number): Promise<Uint8Array<ArrayBuffer>> {
	if (request.body === null) return new Uint8Array(0);
	const announced = Number(request.headers.get("content-length") ?? Number.NaN);
	if (announced > limit) throw tooLarge(limit);
	// A body of a known, small length is read in one go.
	if (announced <= limit) return new Uint8Array(await request.arrayBuffer());
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

function tooLarge(limit: number): HeadstartError {
	return new HeadstartError("payloadTooLarge", `the event has more than ${limit} bytes (app.limits.event)`);
}
