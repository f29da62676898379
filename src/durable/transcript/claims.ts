/** Claims: what the application asks for before the bridge knows it (rules 1, 3 and 4). */
import type { ErrorCode, ErrorValue } from "../../shared/error.ts";
import { CLAIM_WAIT_MS, type Claim, type Effect, MAX_MISSED, type State } from "./state.ts";

export interface Claimed {
	claim: bigint;
	id: bigint;
	content: string;
	diverges: string;
	deadlineMillis: number;
}

/** A claim has come: it waits for a producer, or it is answered at once. */
export function claim(state: State, now: number, it: Claimed, effects: Effect[]): void {
	const waiting: Claim = {
		id: it.id,
		content: it.content,
		deadline: now + it.deadlineMillis,
		expected: false,
	};
	if (it.diverges !== "") {
		state.divergences += 1;
		answer(
			state,
			it.claim,
			waiting,
			"diverged",
			`the initscript sent "${it.diverges}" under this id`,
			effects,
		);
		return;
	}
	const message = state.messages.get(it.id);
	switch (message?.phase) {
		case "failed":
			decide(it.claim, message.error ?? { code: "internal", message: "the message failed" }, effects);
			return;
		case "served":
			decide(it.claim, { code: "alreadyClaimed", message: "the message was received before" }, effects);
			return;
		case "voided":
			answer(state, it.claim, waiting, "voided", "the message is of another state of this key", effects);
			return;
		case "sent":
			// It has crossed with the message: the bridge answers it as soon as that comes.
			state.claims.set(it.claim, waiting);
			timer(state, now, it.claim, waiting, effects);
			return;
		default:
	}
	if (state.script !== "running" || state.invocation > 1) {
		answer(state, it.claim, waiting, "miss", "no initscript is going to send it", effects);
		return;
	}
	state.claims.set(it.claim, waiting);
	expectationsGrew(state, now, effects);
	if (!waiting.expected) timer(state, now, it.claim, waiting, effects);
}

/** Claims that an announcement covers from now on wait until their own deadline. */
export function expectationsGrew(state: State, now: number, effects: Effect[]): void {
	for (const [number, it] of coverClaims(state)) timer(state, now, number, it, effects);
}

/** The time that a claim had is over. A timer of a claim that was answered, or may wait longer, does nothing. */
export function claimTimeout(state: State, now: number, number: bigint, effects: Effect[]): void {
	const it = state.claims.get(number);
	if (it === undefined) return;
	if (now >= it.deadline) {
		answer(state, number, it, "deadline", "what was claimed did not come in time", effects);
	} else if (!it.expected && state.messages.get(it.id)?.phase !== "sent") {
		answer(
			state,
			number,
			it,
			"miss",
			`the initscript had not announced it within ${CLAIM_WAIT_MS} ms`,
			effects,
		);
	}
}

/** The script sends no more: what waits for it without a message has no producer (rule 1). */
export function producerGone(state: State, error: ErrorValue | undefined, effects: Effect[]): void {
	state.expectedIds.clear();
	state.expectedCount = 0;
	for (const [number, it] of state.claims) {
		if (state.messages.has(it.id)) continue;
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
	for (const [number, it] of state.claims) {
		if (it.id !== id) continue;
		state.claims.delete(number);
		decide(number, error, effects);
	}
}

/** The bridge has answered the claims of an id by itself. */
export function served(state: State, id: bigint): void {
	for (const [number, it] of state.claims) if (it.id === id) state.claims.delete(number);
}

/** Every claim still open is answered with `error`. */
export function endClaims(state: State, error: ErrorValue, effects: Effect[]): void {
	for (const number of state.claims.keys()) decide(number, error, effects);
	state.claims.clear();
}

/** Marks the claims that an expectation covers: those by id, and as many others as were announced by number. */
function coverClaims(state: State): [bigint, Claim][] {
	const fresh: [bigint, Claim][] = [];
	let free = state.expectedCount;
	for (const it of state.claims.values()) {
		if (it.expected && !state.expectedIds.has(it.id) && !state.messages.has(it.id)) free -= 1;
	}
	for (const [number, it] of state.claims) {
		if (it.expected || state.messages.has(it.id)) continue;
		const byId = state.expectedIds.has(it.id);
		if (!byId && free <= 0) continue;
		if (!byId) free -= 1;
		it.expected = true;
		fresh.push([number, it]);
	}
	return fresh;
}

function timer(state: State, now: number, number: bigint, it: Claim, effects: Effect[]): void {
	const patient = it.expected || state.messages.has(it.id);
	const ms = Math.max(0, patient ? it.deadline - now : Math.min(CLAIM_WAIT_MS, it.deadline - now));
	effects.push({ effect: "timer", claim: number, ms });
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
	if (!state.messages.has(it.id)) state.owned.add(it.id);
	if (state.missed.length < MAX_MISSED) state.missed.push({ id: String(it.id), content: it.content, code });
	decide(number, { code, message }, effects);
}

function decide(number: bigint, error: ErrorValue, effects: Effect[]): void {
	effects.push({ effect: "submit", op: { which: "decide", decide: { claim: number, error } } });
}
