import { HeadstartError } from "../shared/error.ts";

/** A request's body as text. Throws `payloadTooLarge` when it has more than `limit` bytes. */
export async function limitedBody(request: Request, limit: number): Promise<string> {
	if (Number(request.headers.get("content-length") ?? 0) > limit) throw tooLarge(limit);
	const decoder = new TextDecoder();
	let text = "";
	let length = 0;
	for await (const part of request.body ?? []) {
		length += part.length;
		if (length > limit) throw tooLarge(limit);
		text += decoder.decode(part, { stream: true });
	}
	return text + decoder.decode();
}

function tooLarge(limit: number): HeadstartError {
	return new HeadstartError("payloadTooLarge", `the body has more than ${limit} bytes`, {
		hint: "Send less.",
	});
}
