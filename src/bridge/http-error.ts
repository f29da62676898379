import { HeadstartError, isErrorCode } from "../shared/error.ts";

/** The error that an answer of the bridge's HTTP tells: `{code, message}`. */
export async function bridgeError(answer: Response): Promise<HeadstartError> {
	try {
		const body: unknown = await answer.json();
		if (typeof body === "object" && body !== null && "code" in body && "message" in body) {
			const code = String(body.code);
			return new HeadstartError(isErrorCode(code) ? code : "internal", String(body.message));
		}
	} catch {
		// Not JSON: said below.
	}
	return new HeadstartError("internal", `the bridge answered ${answer.status}`);
}
