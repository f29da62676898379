/** proof/functions/small: fetches an object by its initscript, and answers how long it is. */
import type { NodeClient } from "../src/cli/client.ts";
import { describe } from "../src/cli/errors.ts";

/** Bytes of the object "inputs/small". */
export const SMALL_BYTES = 10_000;

/** A cold start of it. What was wrong with it, in words, if anything was. */
export async function startSmall(client: NodeClient, number: number): Promise<string | undefined> {
	try {
		const answer = await client.send("/v1/functions/small/invocations?cold=1", {
			method: "POST",
			body: JSON.stringify({ number }),
			signal: AbortSignal.timeout(30_000),
		});
		const body = await answer.text();
		const right = JSON.stringify({ number, bytes: SMALL_BYTES });
		return answer.status === 200 && body.replaceAll(" ", "") === right
			? undefined
			: `${answer.status}: ${body.slice(0, 200)}`;
	} catch (error) {
		return describe(error);
	}
}
