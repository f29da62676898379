import { CLAIM_WAIT_MS } from "../state.ts";
import { announcedClaims, type Book } from "./book.ts";

/** How things stand after a step. */
export function judgeStanding(book: Book, now: number): void {
	if (book.closed) {
		if (book.waits.size > 0) book.broken(1, "a call of the script waits after the instance's end");
		return;
	}
	judgeWaits(book, now);
	judgeClaims(book, now);
	for (const [key, sent] of book.sent) {
		if (book.invocation > 1 && sent.phase === "sent" && !key.includes(" "))
			book.broken(5, `message ${key} is to be had after its invocation`);
		const rpc = sent.rpc === undefined ? undefined : book.rpcs.get(String(sent.rpc));
		if (sent.phase === "sent" && rpc?.outdated)
			book.broken(5, `message ${key} is to be had, and the application wrote to what it holds`);
	}
	if (book.rules.onFailure === "fail" && book.refused.size > 0 && book.failures === 0)
		book.broken(7, "the script failed, its policy is `fail`, and the invocation goes on");
}

function judgeWaits(book: Book, now: number): void {
	for (const [waiter, it] of book.waits) {
		const name = `waiter ${waiter} for the ${it.for} ${it.key}`;
		if (book.script !== "running") book.broken(1, `${name} after the script's end`);
		if (now > it.deadline + book.slack) book.broken(1, `${name} is past its deadline`);
		if (it.for === "reply") {
			if (!book.rpcs.has(it.key)) book.broken(1, `${name}, which was not dispatched`);
			if (book.rpcs.get(it.key)?.done !== undefined) book.broken(1, `${name}, which has come`);
		} else {
			if (book.appGone !== undefined) book.broken(7, `${name}, and the application is gone`);
			if (it.for === "message" && book.appMessages.has(it.key)) book.broken(1, `${name}, which has come`);
			if (it.for === "conn" && book.offers.has(it.key)) book.broken(6, `${name}, which is offered`);
		}
	}
}

function judgeClaims(book: Book, now: number): void {
	const scriptWaits = [...book.waits.values()].some((it) => it.for !== "reply");
	const announced = announcedClaims(book);
	for (const [number, it] of book.claims) {
		if (it.diverges) book.broken(4, `claim ${number} diverges and waits`);
		if (now > it.deadline + book.slack) book.broken(1, `claim ${number} is past its deadline`);
		const sent = book.sent.get(it.key);
		if (sent !== undefined) {
			if (sent.phase === "failed") book.broken(7, `claim ${number} waits for ${it.key}, which failed`);
			continue;
		}
		if (book.script !== "running")
			book.broken(1, `claim ${number} waits, and nobody is going to send ${it.key}`);
		if (book.owned.has(it.key))
			book.broken(3, `claim ${number} waits for ${it.key}, which is the application's own`);
		const covered = announced.has(number);
		if (it.covered && !covered) it.uncoveredSince = now;
		it.covered = covered;
		if (covered) continue;
		if (scriptWaits) book.broken(3, `claim ${number} waits for a script that waits for the application`);
		if (now > it.uncoveredSince + CLAIM_WAIT_MS + book.slack)
			book.broken(3, `claim ${number} waits for more than ${CLAIM_WAIT_MS} ms and was not announced`);
	}
}

/** When an invocation has ended nobody can have what was handed over in it. */
export function judgeEnd(book: Book): void {
	for (const [key, sent] of book.sent) {
		if (key.includes(" ") && sent.phase === "sent")
			book.broken(5, `connection ${key} is to be had after its invocation`);
	}
	for (const [key, state] of book.offers) {
		if (state === "open")
			book.broken(5, `connection ${key} of the application is to be had after its invocation`);
	}
}

/** The application reads its own writes: what was fetched before is not to be had any more. */
export function judgeWrite(book: Book, content: string): void {
	const [verb, place] = content.split(" ");
	if (verb === "GET" || verb === "HEAD") return;
	for (const rpc of book.rpcs.values()) if (rpc.content === `GET ${place}`) rpc.outdated = true;
}
