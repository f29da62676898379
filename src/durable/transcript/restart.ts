/**
 * A script that is run again because its runner died: it repeats what it has done, which has no effect, and goes on from
 * there. What it does otherwise than the first time is drift, and an error (rule 7).
 */
import type { ScriptOp } from "../../isolates/protocol.ts";
import type { ErrorValue } from "../../shared/error.ts";
import { fingerprint, requestMark } from "../../shared/fingerprint.ts";
import type { Effect, State } from "./state.ts";
import { endWaits } from "./waits.ts";

/** Characters of a text of the script's that a mark has. */
const MAX_NAMED = 200;
/** How often a script is run again. */
const MAX_RESTARTS = 1;

/** Whether the script may be run again: it runs, and has sent nothing that must not be sent twice. */
export function mayRestart(state: State): boolean {
	if (state.script !== "running" || state.closed !== undefined || state.restarts >= MAX_RESTARTS)
		return false;
	for (const rpc of state.rpcs.values()) if (!rpc.idempotent) return false;
	return true;
}

/** The script begins again. Messages that it had received it receives again. */
export function restart(state: State, effects: Effect[]): void {
	if (!mayRestart(state)) return;
	state.restarts += 1;
	state.repeated = 0;
	for (const message of state.appMessages.values()) message.received = false;
	endWaits(state, { code: "runnerLost", message: "the runner died" }, effects);
}

/** Whether a call is part of what the script repeats: then it has had its effect. `drift` says how it is another. */
export function repeats(state: State, op: ScriptOp): { repeated: boolean; drift?: ErrorValue } {
	const before = state.history[state.repeated];
	if (before === undefined) {
		if (op.op !== "log") {
			state.history.push(markOf(op, state));
			state.repeated += 1;
		}
		return { repeated: false };
	}
	if (op.op === "log") return { repeated: true };
	state.repeated += 1;
	if (isMark(before, op, state)) return { repeated: true };
	return { repeated: true, drift: driftOf(`"${markOf(op, state)}" in the place of "${before}"`) };
}

/** How a script that ends now is another than before: it has not repeated all that it had done. */
export function unrepeated(state: State): ErrorValue | undefined {
	const left = state.history.length - state.repeated;
	return left === 0 ? undefined : driftOf(`it ended without ${left} of its calls`);
}

function driftOf(what: string): ErrorValue {
	return { code: "runnerLost", message: `the initscript was run again and did not repeat itself: ${what}` };
}

/** A call in short. The first request under an id is told by its RPC, not here. */
function markOf(op: ScriptOp, state: State): string {
	switch (op.op) {
		case "connect":
			return `connect ${op.conn} ${short(op.address)}`;
		case "sendRpc": {
			const again = state.rpcs.has(op.rpc) ? ` ${short(requestMark(op.conn, op.request, op.to))}` : "";
			return `sendRpc ${op.conn} ${op.rpc} ${op.request.length}${again}`;
		}
		case "sendMsg":
			return `sendMsg ${op.id} ${fingerprint(op.data)}`;
		case "sendReply":
			return `sendReply ${op.id} ${op.rpc}`;
		case "transferConn":
			return `transferConn ${op.id} ${short(op.address)} ${op.conn}`;
		case "expect":
			return `expect ${op.count}`;
		case "expectMsg":
			return `expectMsg ${op.id}`;
		case "log":
			return "log";
	}
}

/** A long text by its fingerprint: marks are kept. */
function short(text: string): string {
	return text.length <= MAX_NAMED ? text : fingerprint(new TextEncoder().encode(text));
}

/** Whether a call is the one of this mark. */
function isMark(mark: string, op: ScriptOp, state: State): boolean {
	if (op.op === "sendRpc" && mark === `sendRpc ${op.conn} ${op.rpc} ${op.request.length}`) {
		const rpc = state.rpcs.get(op.rpc);
		return rpc === undefined || rpc.fingerprint === requestMark(op.conn, op.request, op.to);
	}
	return mark === markOf(op, state);
}
