/** Claims: what the application asks for before the bridge knows it (rules 1, 3 and 4). */
import type { ErrorCode, ErrorValue } from "../../shared/error.ts";
import {
	CLAIM_WAIT_MS,
	type Claim,
	connKey,
	type Effect,
	MAX_MISSED,
	MAX_TIMER_MS,
	ownsConn,
	ownsMessage,
	type Sent,
	type State,
} from "./state.ts";
import { waitsForApp } from "./waits.ts";

export interface Claimed {
	claim: bigint;
	id: bigint;
	content: string;
	diverges: string;
	deadlineMillis: number;
	/** Whether it is for a connection; `content` is then the address. */
	connection: boolean;
}

/** A claim has come: it waits for a producer, or it is answered at once. */
export function claim(state: State, now: number, claimed: Claimed, effects: Effect[]): void {
	const { claim: number, id, content, connection, diverges } = claimed;
	const deadline = now + claimed.deadlineMillis;
	const patience = Math.min(deadline, now + CLAIM_WAIT_MS);
	const timer = Number.POSITIVE_INFINITY;
	const it: Claim = { id, content, connection, deadline, patience, expected: false, timer };
	if (diverges !== "") {
		state.divergences += 1;
		answer(state, number, it, "diverged", `the initscript sent "${diverges}" under this id`, effects);
		return;
	}
	const what = connection ? "connection" : "message";
	const sent = sentFor(state, it);
	switch (sent?.phase) {
		case "failed":
			decide(number, sent.error ?? { code: "internal", message: `the ${what} failed` }, effects);
			return;
		case "served":
			decide(number, { code: "alreadyClaimed", message: `the ${what} was received before` }, effects);
			return;
		case "voided":
			answer(state, number, it, "voided", `the ${what} is of another state of this key`, effects);
			return;
		case "sent":
			// It has crossed with what was sent: the bridge answers it as soon as that comes.
			state.claims.set(number, it);
			setTimer(state, now, number, it, effects);
			return;
		default:
	}
	if (state.script !== "running" || state.invocation > 1) {
		answer(state, number, it, "miss", "no initscript is going to send it", effects);
	} else if (isOwned(state, it)) {
		answer(state, number, it, "miss", "the application does this by itself", effects);
	} else {
		state.claims.set(number, it);
		coverClaims(state, now, effects);
		if (state.claims.has(number)) setTimer(state, now, number, it, effects);
	}
}

/**
 * Looks which claims the script's announcements cover: those wait until their own deadline. The others have a little
 * patience; none while the script itself waits for the application, which may wait for this answer.
 */
export function coverClaims(state: State, now: number, effects: Effect[]): void {
	let free = state.expectedCount;
	/** What is counted for once, however many wait for it. */
	const counted = new Set<string>();
	for (const [number, it] of state.claims) {
		if (sentFor(state, it) !== undefined) continue;
		const byId = !it.connection && state.expectedIds.has(it.id);
		const again = byId || counted.has(keyOf(it));
		const covered = again || free > 0;
		if (covered && !again) {
			counted.add(keyOf(it));
			free -= 1;
		}
		if (it.expected !== covered) {
			it.expected = covered;
			it.patience = Math.min(it.deadline, now + CLAIM_WAIT_MS);
			setTimer(state, now, number, it, effects);
		}
		if (!covered && waitsForApp(state)) {
			answer(
				state,
				number,
				it,
				"miss",
				"the initscript waits for the application, and has not announced it",
				effects,
			);
		}
	}
}

/** A timer of a claim. One that was answered, or may wait longer by now, is left alone. */
export function claimTimeout(state: State, now: number, number: bigint, effects: Effect[]): void {
	const it = state.claims.get(number);
	if (it === undefined) return;
	if (now >= it.timer) it.timer = Number.POSITIVE_INFINITY;
	if (now >= it.deadline) {
		answer(state, number, it, "deadline", "what was claimed did not come in time", effects);
	} else if (now >= patienceOf(state, it)) {
		const why = `the initscript had not announced it within ${CLAIM_WAIT_MS} ms`;
		answer(state, number, it, "miss", why, effects);
	} else {
		setTimer(state, now, number, it, effects);
		return;
	}
	// What was announced is for the next one now.
	coverClaims(state, now, effects);
}

/** The script sends no more: what waits for it without anything sent has no producer (rule 1). */
export function producerGone(state: State, error: ErrorValue | undefined, effects: Effect[]): void {
	state.expectedIds.clear();
	state.expectedCount = 0;
	for (const [number, it] of state.claims) {
		if (sentFor(state, it) !== undefined) continue;
		if (error !== undefined && state.rules.onFailure === "fail") {
			state.claims.delete(number);
			decide(number, error, effects);
		} else {
			const why =
				error === undefined
					? "the initscript ended without sending it"
					: `the initscript failed: ${error.message}`;
			answer(state, number, it, "miss", why, effects);
		}
	}
}

/** A message will never come: who waits for it hears why. */
export function messageFailed(state: State, id: bigint, error: ErrorValue, effects: Effect[]): void {
	endClaims(state, error, effects, (it) => !it.connection && it.id === id);
}

/** The same of a connection. */
export function transferFailed(state: State, key: string, error: ErrorValue, effects: Effect[]): void {
	endClaims(state, error, effects, (it) => it.connection && connKey(it.id, it.content) === key);
}

/** The bridge has answered the claims of a message by itself. */
export function served(state: State, id: bigint): void {
	for (const [number, it] of state.claims) if (!it.connection && it.id === id) state.claims.delete(number);
}

/** The same of a connection. */
export function taken(state: State, key: string): void {
	for (const [number, it] of state.claims) {
		if (it.connection && connKey(it.id, it.content) === key) state.claims.delete(number);
	}
}

/** The open claims that are `like` this are answered with `error`. */
export function endClaims(
	state: State,
	error: ErrorValue,
	effects: Effect[],
	like: (it: Claim) => boolean = () => true,
): void {
	for (const [number, it] of state.claims) {
		if (!like(it)) continue;
		state.claims.delete(number);
		decide(number, error, effects);
	}
}

/** What the script has sent for a claim. */
function sentFor(state: State, it: Claim): Sent | undefined {
	return it.connection ? state.transfers.get(connKey(it.id, it.content)) : state.messages.get(it.id);
}

function isOwned(state: State, it: Claim): boolean {
	return it.connection ? ownsConn(state, connKey(it.id, it.content)) : ownsMessage(state, it.id);
}

/** Until when a claim waits, as things are. */
function patienceOf(state: State, it: Claim): number {
	return it.expected || sentFor(state, it) !== undefined ? it.deadline : it.patience;
}

/** Sees to it that a timer comes when the claim's patience ends, or before: then it is set again. */
function setTimer(state: State, now: number, number: bigint, it: Claim, effects: Effect[]): void {
	const at = Math.min(patienceOf(state, it), now + MAX_TIMER_MS);
	if (it.timer <= at) return;
	it.timer = at;
	effects.push({ effect: "timer", claim: number, ms: Math.max(0, at - now) });
}

/** Tells the application that it must do this by itself; from now on the id is its own (rule 3). */
function answer(
	state: State,
	number: bigint,
	it: Claim,
	code: ErrorCode,
	message: string,
	effects: Effect[],
): void {
	state.claims.delete(number);
	// Only a script that runs could still send it.
	if (sentFor(state, it) === undefined && state.script === "running" && !isOwned(state, it)) {
		if (it.connection) state.ownedConns.add(connKey(it.id, it.content));
		else state.owned.add(it.id);
	}
	if (state.missed.length < MAX_MISSED) state.missed.push({ id: String(it.id), content: it.content, code });
	decide(number, { code, message }, effects);
	// Whoever else waits for it waits in vain.
	for (const [other, same] of state.claims) {
		if (isOwned(state, it) && same.connection === it.connection && keyOf(same) === keyOf(it))
			answer(state, other, same, "miss", "the application does this by itself", effects);
	}
}

/** What tells two claims of a kind apart. */
function keyOf(it: Claim): string {
	return it.connection ? connKey(it.id, it.content) : String(it.id);
}

function decide(number: bigint, error: ErrorValue, effects: Effect[]): void {
	effects.push({ effect: "submit", op: { which: "decide", decide: { claim: number, error } } });
}
