/**
 * The transcript's rules (docs/transcript.md), as one deterministic function: the state and an input give the next state
 * and what is to be done. No I/O here and no clock: `now` (Unix milliseconds) comes with each input.
 */
import type { Event } from "../../bridge/bridge.ts";
import type { Outcome, ScriptOp, ScriptReply } from "../../isolates/protocol.ts";
import type { ErrorValue } from "../../shared/error.ts";
import { claim, claimTimeout, endClaims, messageFailed, producerGone, served } from "./claims.ts";
import { scriptOp } from "./script.ts";
import { addLine, type Effect, MAX_WAITERS, type State } from "./state.ts";

export type Input =
	/** The script's calls, in order. */
	| { input: "ops"; now: number; ops: ScriptOp[] }
	/** The script waits for a reply; answered by the effect `reply` with this waiter. */
	| { input: "receive"; now: number; waiter: number; rpc: bigint }
	/** The script has ended; `error` says how it failed. */
	| { input: "exit"; now: number; error?: ErrorValue }
	| { input: "event"; now: number; event: Event }
	| { input: "timer"; now: number; claim: bigint }
	/** The next invocation of a warm instance is about to begin. */
	| { input: "invocation"; now: number }
	/** The instance is gone, or out of reach. */
	| { input: "close"; now: number; error: ErrorValue };

/** Applies one input to `state`. */
export function reduce(state: State, input: Input): Effect[] {
	const effects: Effect[] = [];
	if (state.closed !== undefined) {
		if (input.input === "receive") {
			effects.push({ effect: "reply", waiter: input.waiter, outcome: { error: state.closed } });
		}
		return effects;
	}
	switch (input.input) {
		case "ops":
			if (state.script === "running") {
				for (const op of input.ops) scriptOp(state, input.now, op, effects);
			}
			break;
		case "receive":
			receive(state, input.waiter, input.rpc, effects);
			break;
		case "exit":
			exit(state, input.now, input.error, effects);
			break;
		case "event":
			event(state, input.now, input.event, effects);
			break;
		case "timer":
			claimTimeout(state, input.now, input.claim, effects);
			break;
		case "invocation":
			nextInvocation(state, input.now, effects);
			break;
		case "close":
			close(state, input.error, effects);
			break;
	}
	return effects;
}

function receive(state: State, waiter: number, id: bigint, effects: Effect[]): void {
	const rpc = state.rpcs.get(id);
	if (rpc === undefined) {
		const error = { code: "rpcUnknown", message: `RPC ${id} was not sent` };
		effects.push({ effect: "reply", waiter, outcome: { error } });
	} else if (rpc.outcome !== undefined) {
		effects.push({ effect: "reply", waiter, outcome: rpc.outcome });
	} else if (rpc.waiters.length >= MAX_WAITERS) {
		const error = { code: "tooMany", message: `more than ${MAX_WAITERS} calls wait for RPC ${id}` };
		effects.push({ effect: "reply", waiter, outcome: { error } });
	} else {
		rpc.waiters.push(waiter);
	}
}

function exit(state: State, now: number, error: ErrorValue | undefined, effects: Effect[]): void {
	if (state.script !== "running") return;
	state.script = "ended";
	if (error !== undefined) addLine(state, now, "error", `${error.code}: ${error.message}`);
	effects.push({ effect: "submit", op: { which: "scriptEnded" } });
	producerGone(state, error, effects);
	if (error !== undefined && state.rules.onFailure === "fail") effects.push({ effect: "fail", error });
}

function event(state: State, now: number, it: Event, effects: Effect[]): void {
	switch (it.which) {
		case "rpcAccepted": {
			const rpc = state.rpcs.get(it.rpcAccepted.rpc);
			if (rpc !== undefined) rpc.content = it.rpcAccepted.content;
			break;
		}
		case "rpcDone": {
			const { error, reply } = it.rpcDone;
			const body = reply.length <= BigInt(reply.inlined.length) ? { body: reply.inlined } : {};
			const ok: ScriptReply = { status: reply.status, length: Number(reply.length), ...body };
			rpcDone(state, it.rpcDone.rpc, error.code === "ok" ? { ok } : { error }, effects);
			break;
		}
		case "claimed":
			claim(state, now, it.claimed, effects);
			break;
		case "served": {
			const { id, error } = it.served;
			served(state, id);
			const message = state.messages.get(id);
			if (message?.phase === "sent" && error.code === "ok") message.phase = "served";
			break;
		}
		case "called":
			called(state, it.called.content, effects);
			break;
		case "messageFailed": {
			const { id, error } = it.messageFailed;
			const message = state.messages.get(id);
			if (message?.phase === "sent") {
				message.phase = "failed";
				message.error = error;
			}
			messageFailed(state, id, error, effects);
			break;
		}
		case "ended":
			close(
				state,
				{ code: "instanceClosed", message: `the instance has ended: ${it.ended.reason}` },
				effects,
			);
			break;
		default:
	}
}

function rpcDone(state: State, id: bigint, outcome: Outcome<ScriptReply>, effects: Effect[]): void {
	const rpc = state.rpcs.get(id);
	if (rpc?.phase !== "sent") return;
	rpc.phase = "done";
	rpc.outcome = outcome;
	for (const waiter of rpc.waiters) effects.push({ effect: "reply", waiter, outcome });
	rpc.waiters = [];
}

/** A write by the application voids what was fetched of the same key before (rule 5). */
function called(state: State, content: string, effects: Effect[]): void {
	const space = content.indexOf(" ");
	const verb = content.slice(0, space);
	if (verb === "GET" || verb === "HEAD") return;
	const read = `GET${content.slice(space)}`;
	for (const [id, message] of state.messages) {
		if (message.phase !== "sent" || message.rpc === undefined) continue;
		if (state.rpcs.get(message.rpc)?.content === read) voidMessage(state, id, effects);
	}
}

/** Results belong to the invocation they were fetched for (rule 5). */
function nextInvocation(state: State, now: number, effects: Effect[]): void {
	state.invocation += 1;
	const late = { code: "cancelled", message: "the next invocation has begun" } as const;
	if (state.script === "running") exit(state, now, undefined, effects);
	endClaims(state, late, effects);
	for (const [id, message] of state.messages) if (message.phase === "sent") voidMessage(state, id, effects);
}

function voidMessage(state: State, id: bigint, effects: Effect[]): void {
	const message = state.messages.get(id);
	if (message !== undefined) message.phase = "voided";
	effects.push({ effect: "submit", op: { which: "void", void: id } });
}

function close(state: State, error: ErrorValue, effects: Effect[]): void {
	state.closed = error;
	state.claims.clear();
	for (const rpc of state.rpcs.values()) {
		for (const waiter of rpc.waiters) effects.push({ effect: "reply", waiter, outcome: { error } });
		rpc.waiters = [];
	}
}
