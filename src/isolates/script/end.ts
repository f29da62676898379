/** From what happened in a script to the {@link ScriptExit} that the host gets. */
import type { ScriptExit } from "../protocol.ts";
import { describe, type LimitCode, LimitReached, ScriptEnd } from "./failure.ts";
import type { Session } from "./session.ts";

/**
 * Runs `body` to the script's end. Its value is the exit status. What it throws is `exit` (ScriptEnd), `limit`
 * (LimitReached) or a trap. `stackOf` tidies a trap's stack.
 */
export async function runToEnd(
	session: Session,
	body: () => Promise<number>,
	stackOf: (stack: string) => string = (stack) => stack,
): Promise<ScriptExit> {
	let end: ScriptExit;
	try {
		const status = await body();
		// A script that caught its own exit has ended all the same.
		end = { ops: [], end: "exit", status: session.ended?.status ?? status };
	} catch (thrown) {
		end = endOf(session, thrown, stackOf);
	}
	return { ...end, ops: await session.settle() };
}

/** The end of a script that did not come to one by itself. */
export function deadlineEnd(deadlineMs: number): ScriptExit {
	const message = `the initscript did not end within its deadline of ${deadlineMs} ms`;
	return { ops: [], end: "deadline", error: { code: "initscriptDeadline", message } };
}

export function limitEnd(code: LimitCode, message: string): ScriptExit {
	return { ops: [], end: "limit", error: { code, message } };
}

function endOf(session: Session, thrown: unknown, stackOf: (stack: string) => string): ScriptExit {
	if (session.ended !== undefined) return { ops: [], end: "exit", status: session.ended.status };
	if (thrown instanceof ScriptEnd) return { ops: [], end: "exit", status: thrown.status };
	if (thrown instanceof LimitReached) return limitEnd(thrown.code, thrown.message);
	const { message, stack } = describe(thrown);
	const error = { code: "initscriptTrapped", message };
	return stack === undefined
		? { ops: [], end: "trap", error }
		: { ops: [], end: "trap", error, stack: stackOf(stack) };
}
