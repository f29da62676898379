import { expect, test } from "vitest";
import { HeadstartError } from "./error.ts";
import { errorResponse } from "./error-response.ts";

test.each([
	["tooMany", "1"],
	["quotaExceeded", "1"],
	["bridgeLost", "1"],
	["unknownFunction", null],
] as const)("%s says when it may be tried again: %s", async (code, seconds) => {
	const answer = errorResponse(new HeadstartError(code, "x"));
	expect(answer.headers.get("retry-after")).toBe(seconds);
	expect(await answer.json()).toMatchObject({ code, hint: expect.any(String) });
});
