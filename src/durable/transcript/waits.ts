/** The script's calls that wait: for a reply, or for a message or connection of the application's (rules 1, 6 and 7). */
import type { Outcome, ScriptMessage } from "../../isolates/protocol.ts";
import type { ErrorCode, ErrorValue } from "../../shared/error.ts";
import { beyond } from "./limits.ts";
import {
	type AppMessage,
	addLine,
	connKey,
	type Effect,
	MAX_FROM_APP,
	MAX_TIMER_MS,
	MAX_WAITS,
	type Offer,
	type State,
	type Wait,
} from "./state.ts";

/** Whether a call of the script waits for the application. */
export function waitsForApp(state: State): boolean {
	for (const wait of state.waits.values()) if (wait.for !== "reply") return true;
	return false;
}

/** The script waits for something: it gets it at once when it is there, or waits while somebody can still send it. */
export function wait(state: State, now: number, waiter: number, it: Wait, effects: Effect[]): void {
	const error = whyNot(state, it);
	if (error !== undefined) {
		answer(waiter, it, error, effects);
		return;
	}
	if (give(state, waiter, it, effects)) return;
	state.waits.set(waiter, it);
	setTimer(now, waiter, it, effects);
}

/** The time that a wait had is over. */
export function waitTimeout(state: State, now: number, waiter: number, effects: Effect[]): void {
	const it = state.waits.get(waiter);
	if (it?.deadline === undefined) return;
	if (now < it.deadline) {
		setTimer(now, waiter, it, effects);
		return;
	}
	state.waits.delete(waiter);
	answer(waiter, it, { code: "deadline", message: `${nameOf(it)} did not come in time` }, effects);
}

/** An RPC has ended: who waits for it hears of it. */
export function replyCame(state: State, rpc: bigint, effects: Effect[]): void {
	for (const [waiter, it] of state.waits) {
		if (it.for === "reply" && it.rpc === rpc && give(state, waiter, it, effects)) state.waits.delete(waiter);
	}
}

/** SendMsg of the application. */
export function appMessage(
	state: State,
	now: number,
	{ id, length, inlined }: { id: bigint; length: bigint; inlined: Uint8Array },
	effects: Effect[],
): void {
	if (state.script !== "running" || state.appMessages.has(id)) return;
	if (state.appMessages.size >= MAX_FROM_APP) {
		addLine(state, now, "error", `tooMany: more than ${MAX_FROM_APP} messages of the application`);
		return;
	}
	const body = length <= BigInt(inlined.length) ? { body: inlined } : {};
	state.appMessages.set(id, { length: Number(length), received: false, ...body });
	giveTo(state, (it) => it.for === "message" && it.id === id, effects);
}

/** TransferConn of the application. */
export function connOffered(state: State, now: number, id: bigint, address: string, effects: Effect[]): void {
	const key = connKey(id, address);
	if (state.offers.has(key)) return;
	const isFull = state.offers.size >= MAX_FROM_APP;
	if (isFull || state.script !== "running") {
		if (!isFull) state.offers.set(key, { id, address, conn: undefined, withdrawn: true });
		else addLine(state, now, "error", `tooMany: more than ${MAX_FROM_APP} connections of the application`);
		// Nobody is going to take it.
		effects.push({ effect: "submit", op: { which: "withdraw", withdraw: { id, address, ofApp: true } } });
		return;
	}
	state.offers.set(key, { id, address, conn: undefined, withdrawn: false });
	giveTo(state, (it) => it.for === "conn" && connKey(it.id, it.address) === key, effects);
}

/** The application sends no more: who waits for it hears why (rule 7). */
export function appGone(state: State, cause: ErrorValue, effects: Effect[]): void {
	state.appGone ??= cause;
	endWaits(state, state.appGone, effects, (it) => it.for !== "reply");
}

/** The waits that are `like` this end with `error`. */
export function endWaits(
	state: State,
	error: ErrorValue,
	effects: Effect[],
	like: (it: Wait) => boolean = () => true,
): void {
	for (const [waiter, it] of state.waits) {
		if (!like(it)) continue;
		state.waits.delete(waiter);
		answer(waiter, it, error, effects);
	}
}

function giveTo(state: State, like: (it: Wait) => boolean, effects: Effect[]): void {
	for (const [waiter, it] of state.waits) {
		if (!like(it)) continue;
		state.waits.delete(waiter);
		// Of several the first has it: the others hear that.
		const error = whyNot(state, it);
		if (error !== undefined) answer(waiter, it, error, effects);
		else give(state, waiter, it, effects);
	}
}

/** Why a wait would be in vain. */
function whyNot(state: State, it: Wait): ErrorValue | undefined {
	if (state.script !== "running") return { code: "cancelled", message: "the script has ended" };
	switch (it.for) {
		case "reply":
			if (state.rpcs.has(it.rpc)) break;
			return { code: "rpcUnknown", message: `RPC ${it.rpc} was not sent` };
		case "message": {
			const message = state.appMessages.get(it.id);
			if (message?.received) return { code: "alreadyClaimed", message: `${nameOf(it)} was received before` };
			if (message === undefined && state.appGone !== undefined) return state.appGone;
			break;
		}
		case "conn":
			return whyNoConn(state, it);
	}
	return tooManyWaits(state);
}

function whyNoConn(state: State, it: Extract<Wait, { for: "conn" }>): ErrorValue | undefined {
	const offer = state.offers.get(connKey(it.id, it.address));
	if (offer?.withdrawn) return { code: "voided", message: `${nameOf(it)} was of an earlier invocation` };
	if (offer?.conn !== undefined) {
		// A script that is run again asks again, for the same number.
		if (state.restarts > 0 && offer.conn === it.conn) return undefined;
		return { code: "alreadyClaimed", message: `${nameOf(it)} was taken before` };
	}
	if (state.connections.has(it.conn)) return inUse(it.conn);
	for (const other of state.waits.values()) {
		if (other !== it && other.for === "conn" && other.conn === it.conn) return inUse(it.conn);
	}
	if (state.connections.size >= state.rules.maxConnections) {
		return beyond("connections", state.connections.size + 1, state.rules.maxConnections);
	}
	if (offer === undefined && state.appGone !== undefined) return state.appGone;
	return tooManyWaits(state);
}

function inUse(conn: number): ErrorValue {
	return { code: "invalidArgument", message: `connection ${conn} is in use` };
}

function tooManyWaits(state: State): ErrorValue | undefined {
	if (state.waits.size < MAX_WAITS) return undefined;
	return { code: "tooMany", message: `more than ${MAX_WAITS} calls of the script wait` };
}

/** Gives the script what it waits for, if that is there. */
function give(state: State, waiter: number, it: Wait, effects: Effect[]): boolean {
	switch (it.for) {
		case "reply": {
			const outcome = state.rpcs.get(it.rpc)?.outcome;
			if (outcome === undefined) return false;
			effects.push({ effect: "reply", waiter, outcome });
			return true;
		}
		case "message": {
			const message = state.appMessages.get(it.id);
			if (message === undefined) return false;
			message.received = true;
			effects.push({ effect: "message", waiter, outcome: messageOutcome(message) });
			return true;
		}
		case "conn": {
			const offer = state.offers.get(connKey(it.id, it.address));
			if (offer === undefined) return false;
			adopt(state, offer, it, effects);
			effects.push({ effect: "conn", waiter, outcome: { ok: true } });
			return true;
		}
	}
}

function messageOutcome({ length, body }: AppMessage): Outcome<ScriptMessage> {
	return { ok: body === undefined ? { length } : { length, body } };
}

/** What the application offered becomes the script's (rule 6), who says what framing it has. */
function adopt(
	state: State,
	offer: Offer,
	{ id, address, conn }: Extract<Wait, { for: "conn" }>,
	effects: Effect[],
): void {
	if (offer.conn !== undefined) return;
	offer.conn = conn;
	state.connections.set(conn, { address, handedOver: false });
	effects.push({ effect: "submit", op: { which: "adopt", adopt: { conn, id, address } } });
}

function answer(
	waiter: number,
	it: Wait,
	{ code, message }: { code: ErrorCode; message: string },
	effects: Effect[],
): void {
	effects.push({ effect: it.for, waiter, outcome: { error: { code, message } } });
}

function setTimer(now: number, waiter: number, it: Wait, effects: Effect[]): void {
	if (it.deadline === undefined) return;
	effects.push({ effect: "waitTimer", waiter, ms: Math.min(Math.max(0, it.deadline - now), MAX_TIMER_MS) });
}

function nameOf(it: Wait): string {
	switch (it.for) {
		case "reply":
			return `the reply of RPC ${it.rpc}`;
		case "message":
			return `message ${it.id} of the application`;
		case "conn":
			return `connection ${it.id} to ${it.address} of the application`;
	}
}
