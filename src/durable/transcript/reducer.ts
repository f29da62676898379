/**
 * The transcript's rules (docs/transcript.md), as one deterministic function: the state and an input give the next state
 * and what is to be done. No I/O here and no clock: `now` (Unix milliseconds) comes with each input.
 */
import type { Event } from "../../bridge/generated/bridge.ts";
import type { Outcome, ScriptOp, ScriptReply } from "../../isolates/protocol.ts";
import type { ErrorValue } from "../../shared/error.ts";
import {
	claim,
	claimTimeout,
	coverClaims,
	endClaims,
	messageFailed,
	producerGone,
	served,
	taken,
	transferFailed,
} from "./claims.ts";
import { repeats, restart, unrepeated } from "./restart.ts";
import { scriptOp, voidMessage } from "./script.ts";
import { addLine, connKey, type Effect, MAX_CALLS, type Rpc, type State, type Wait } from "./state.ts";
import { appGone, appMessage, connOffered, endWaits, replyCame, wait, waitTimeout } from "./waits.ts";

/** The script waits; answered by the effect `reply`, `message` or `conn` with this waiter. */
interface Waiting {
	now: number;
	waiter: number;
	timeoutMs?: number;
}

export type Input =
	/** The script's calls, in order. */
	| { input: "ops"; now: number; ops: ScriptOp[] }
	| ({ input: "receive"; rpc: bigint } & Waiting)
	| ({ input: "recvMsg"; id: bigint } & Waiting)
	| ({ input: "getConn"; id: bigint; address: string; conn: number } & Waiting)
	/** The script has ended; `error` says how it failed. */
	| { input: "exit"; now: number; error?: ErrorValue }
	/** The script's runner died, and the next one runs it from its beginning. */
	| { input: "restart"; now: number }
	| { input: "event"; now: number; event: Event }
	| { input: "timer"; now: number; claim: bigint }
	| { input: "waitTimer"; now: number; waiter: number }
	/** The invocation has its answer, and the instance rests for the next one. */
	| { input: "answered"; now: number }
	/** The next invocation of a warm instance is about to begin. */
	| { input: "invocation"; now: number }
	/** The instance is gone, or out of reach. */
	| { input: "close"; now: number; error: ErrorValue };

/** Errors of a claim that say nothing of the connection that it was for. */
const GAVE_UP: ReadonlySet<string> = new Set(["deadline", "cancelled", "alreadyClaimed", "instanceClosed"]);

/** Applies one input to `state`. */
export function reduce(state: State, input: Input): Effect[] {
	const effects: Effect[] = [];
	if (state.closed !== undefined) {
		const { closed: error } = state;
		if (input.input === "receive")
			effects.push({ effect: "reply", waiter: input.waiter, outcome: { error } });
		if (input.input === "recvMsg")
			effects.push({ effect: "message", waiter: input.waiter, outcome: { error } });
		if (input.input === "getConn") effects.push({ effect: "conn", waiter: input.waiter, outcome: { error } });
		return effects;
	}
	switch (input.input) {
		case "ops":
			ops(state, input.now, input.ops, effects);
			break;
		case "receive":
			waits(state, input, { for: "reply", rpc: input.rpc, deadline: deadlineOf(input) }, effects);
			break;
		case "recvMsg":
			waits(state, input, { for: "message", id: input.id, deadline: deadlineOf(input) }, effects);
			break;
		case "getConn": {
			const { id, address, conn } = input;
			waits(state, input, { for: "conn", id, address, conn, deadline: deadlineOf(input) }, effects);
			break;
		}
		case "exit":
			exit(state, input.now, input.error ?? unrepeated(state), effects);
			break;
		case "restart":
			restart(state, effects);
			break;
		case "event":
			event(state, input.now, input.event, effects);
			break;
		case "timer":
			claimTimeout(state, input.now, input.claim, effects);
			break;
		case "waitTimer":
			waitTimeout(state, input.now, input.waiter, effects);
			break;
		case "answered":
			withdraw(state, effects);
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

function ops(state: State, now: number, calls: ScriptOp[], effects: Effect[]): void {
	for (const op of calls) {
		if (state.script !== "running") return;
		const { repeated, drift } = repeats(state, op);
		if (drift !== undefined) exit(state, now, drift, effects);
		else if (state.history.length > MAX_CALLS) exit(state, now, tooManyCalls(state), effects);
		else if (!repeated) scriptOp(state, now, op, effects);
	}
	coverClaims(state, now, effects);
}

function tooManyCalls({ history }: State): ErrorValue {
	return { code: "initscriptLimit", message: `calls: ${history.length} of at most ${MAX_CALLS}` };
}

function deadlineOf({ now, timeoutMs }: Waiting): number | undefined {
	return timeoutMs === undefined || timeoutMs === 0 ? undefined : now + timeoutMs;
}

function waits(state: State, { now, waiter }: Waiting, it: Wait, effects: Effect[]): void {
	wait(state, now, waiter, it, effects);
	// A script that waits for the application must not be waited for by it.
	if (it.for !== "reply") coverClaims(state, now, effects);
}

function exit(state: State, now: number, error: ErrorValue | undefined, effects: Effect[]): void {
	if (state.script !== "running") return;
	state.script = "ended";
	state.scriptError = error;
	if (error !== undefined) addLine(state, now, "error", `${error.code}: ${error.message}`);
	effects.push({ effect: "submit", op: { which: "scriptEnded" } });
	endWaits(state, { code: "cancelled", message: "the script has ended" }, effects);
	producerGone(state, error, effects);
	if (error !== undefined && state.rules.onFailure === "fail") effects.push({ effect: "fail", error });
}

function event(state: State, now: number, it: Event, effects: Effect[]): void {
	switch (it.which) {
		case "rpcAccepted": {
			const rpc = state.rpcs.get(it.rpcAccepted.rpc);
			if (rpc === undefined) break;
			rpc.content = it.rpcAccepted.content;
			reads(state, rpc);
			rpc.idempotent = it.rpcAccepted.idempotent;
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
			const message = state.messages.get(id);
			// One that gave up before anything was sent leaves the others waiting.
			if (message !== undefined || error.code === "ok") served(state, id);
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
		case "appMessage":
			appMessage(state, now, it.appMessage, effects);
			break;
		case "connOffered":
			connOffered(state, now, it.connOffered.id, it.connOffered.address, effects);
			break;
		case "connReady":
			if (it.connReady.error.code !== "ok") transferEnded(state, it.connReady, effects);
			break;
		case "connTaken":
			// A claim that gave up has left the connection where it was.
			if (!GAVE_UP.has(it.connTaken.error.code)) transferEnded(state, it.connTaken, effects);
			break;
		case "sandboxExited": {
			const { status, error } = it.sandboxExited;
			const left = { code: "appExited", message: `the application has ended with status ${status}` } as const;
			appGone(state, error.code === "ok" ? left : error, effects);
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

/** Notes what an RPC reads, where it does. */
function reads(state: State, rpc: Rpc): void {
	if (!rpc.content.startsWith("GET ")) return;
	const others = state.reads.get(rpc.content);
	if (others === undefined) state.reads.set(rpc.content, [rpc]);
	else others.push(rpc);
}

function rpcDone(state: State, id: bigint, outcome: Outcome<ScriptReply>, effects: Effect[]): void {
	const rpc = state.rpcs.get(id);
	if (rpc?.phase !== "sent") return;
	rpc.phase = "done";
	rpc.outcome = outcome;
	replyCame(state, id, effects);
}

/** The application has a connection that the script handed over, or can never have it. */
function transferEnded(
	state: State,
	{ id, address, error }: { id: bigint; address: string; error: ErrorValue },
	effects: Effect[],
): void {
	const key = connKey(id, address);
	const transfer = state.transfers.get(key);
	// One that was withdrawn in the moment in which it was taken was taken.
	const crossed = transfer?.phase === "voided" && error.code === "ok";
	if (transfer?.phase !== "sent" && !crossed) return;
	if (error.code === "ok") {
		transfer.phase = "served";
		taken(state, key);
	} else {
		transfer.phase = "failed";
		transfer.error = error;
		transferFailed(state, key, error, effects);
	}
}

/** A write by the application voids what was fetched of the same key before, also what is sent to it later (rule 5). */
function called(state: State, content: string, effects: Effect[]): void {
	const space = content.indexOf(" ");
	const verb = content.slice(0, space);
	if (verb === "GET" || verb === "HEAD") return;
	const read = `GET${content.slice(space)}`;
	const outdated = state.reads.get(read) ?? [];
	state.reads.delete(read);
	for (const rpc of outdated) {
		rpc.outdated = true;
		for (const id of rpc.messages) {
			if (state.messages.get(id)?.phase === "sent") voidMessage(state, id, effects);
		}
	}
}

/** What was fetched, sent and handed over belongs to the invocation that it was for (rule 5). */
function nextInvocation(state: State, now: number, effects: Effect[]): void {
	state.invocation += 1;
	const late = { code: "cancelled", message: "the next invocation has begun" } as const;
	if (state.script === "running") exit(state, now, undefined, effects);
	endClaims(state, late, effects);
	for (const [id, message] of state.messages) if (message.phase === "sent") voidMessage(state, id, effects);
	withdraw(state, effects);
}

/** Connections that were handed over and that nobody took are closed, in both directions (rules 5 and 6). */
function withdraw(state: State, effects: Effect[]): void {
	for (const [key, transfer] of state.transfers) {
		if (transfer.phase !== "sent") continue;
		transfer.phase = "voided";
		const { id, address } = transfer;
		effects.push({ effect: "submit", op: { which: "withdraw", withdraw: { id, address, ofApp: false } } });
		transferFailed(
			state,
			key,
			{ code: "voided", message: "the invocation that it was for has ended" },
			effects,
		);
	}
	for (const offer of state.offers.values()) {
		if (offer.conn !== undefined || offer.withdrawn) continue;
		offer.withdrawn = true;
		const { id, address } = offer;
		effects.push({ effect: "submit", op: { which: "withdraw", withdraw: { id, address, ofApp: true } } });
	}
}

function close(state: State, error: ErrorValue, effects: Effect[]): void {
	state.closed = error;
	state.claims.clear();
	endWaits(state, error, effects);
}
