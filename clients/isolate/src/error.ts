/** `code` is its name in schema/errors.capnp: "miss", "diverged", "deadline", … */
export class HeadstartError extends Error {
	override readonly name = "HeadstartError";
	readonly code: string;

	constructor(code: string, message: string) {
		super(`${code}: ${message}`);
		this.code = code;
	}

	/** What the bridge said instead of an answer. */
	static async of(response: Response): Promise<HeadstartError> {
		const text = await response.text();
		try {
			const { code, message } = JSON.parse(text) as { code: string; message: string };
			return new HeadstartError(code, message);
		} catch {
			return new HeadstartError("bridgeLost", `the bridge answered ${response.status}`);
		}
	}
}
