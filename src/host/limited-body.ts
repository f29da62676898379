import { HeadstartError } from "../shared/error.ts";

/** Of a body that is too long so much is read to its end: a client that still writes may not see the answer. */
const DRAINED = 4;

/** A request's body as text. Throws `payloadTooLarge` when it has more than `limit` bytes, `deadline` when it takes longer than that. */
export async function limitedBody(request: Request, limit: number, withinMs?: number): Promise<string> {
	const reader = request.body?.getReader();
	if (reader === undefined) return "";
	let timer: ReturnType<typeof setTimeout> | null = null;
	const late = new Promise<never>((_, reject) => {
		if (withinMs === undefined) return;
		const message = `the body had not come after ${withinMs} ms`;
		timer = setTimeout(() => reject(new HeadstartError("deadline", message)), withinMs);
	});
	try {
		return await Promise.race([read(reader, limit), late]);
	} catch (thrown) {
		await reader.cancel().catch(() => undefined);
		throw thrown;
	} finally {
		clearTimeout(timer);
	}
}

async function read(reader: ReadableStreamDefaultReader<Uint8Array>, limit: number): Promise<string> {
	const decoder = new TextDecoder();
	let text = "";
	for (let length = 0; ; ) {
		const { done, value } = await reader.read();
		if (done) {
			if (length > limit) throw tooLarge(limit);
			return text + decoder.decode();
		}
		length += value.length;
		if (length > DRAINED * limit) throw tooLarge(limit);
		text = length > limit ? "" : text + decoder.decode(value, { stream: true });
	}
}

function tooLarge(limit: number): HeadstartError {
	return new HeadstartError("payloadTooLarge", `the body has more than ${limit} bytes`, {
		hint: "Send less.",
	});
}
