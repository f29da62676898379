import type { Op } from "../../../bridge/generated/bridge.ts";
import type { Outcome } from "../../../isolates/protocol.ts";
import type { ErrorValue } from "../../../shared/error.ts";
import type { Input } from "../reducer.ts";
import { connKey, type Effect } from "../state.ts";
import { announcedClaims, type Book } from "./book.ts";

/** What was decided goes into the books, where it may. */
export function judgeEffect(book: Book, it: Effect, input: Input, running: boolean): void {
	switch (it.effect) {
		case "submit":
			judgeOp(book, it.op, input, running);
			break;
		case "reply":
		case "message":
		case "conn":
			judgeAnswer(book, it, input);
			break;
		case "fail":
			book.failures += 1;
			if (book.rules.onFailure !== "fail")
				book.broken(7, "the invocation fails, though the policy is `fallback`");
			if (book.failures > 1) book.broken(7, "the invocation fails twice");
			break;
		default:
	}
}

function judgeOp(book: Book, op: Op, input: Input, running: boolean): void {
	const ofScript = ["connect", "send", "message", "transfer", "adopt"].includes(op.which);
	if (ofScript && (!running || book.ends > 0)) book.broken(1, `${op.which} of a script that does not run`);
	switch (op.which) {
		case "connect":
			if (book.connections.has(op.connect.conn))
				book.broken(6, `connection ${op.connect.conn} is made twice`);
			book.connections.set(op.connect.conn, "script");
			break;
		case "send": {
			const { rpc, conn } = op.send;
			if (book.rpcs.has(String(rpc))) book.broken(2, `RPC ${rpc} is dispatched twice`);
			if (book.owned.has(String(rpc)))
				book.broken(3, `RPC ${rpc} is dispatched, and the application does it itself`);
			if (book.connections.get(conn) !== "script")
				book.broken(6, `RPC ${rpc} is sent on connection ${conn}, which is not the script's`);
			book.rpcs.set(String(rpc), {});
			break;
		}
		case "message": {
			const { message } = op;
			const key = String(message.id);
			if (book.sent.has(key)) book.broken(2, `message ${key} is sent twice`);
			if (book.owned.has(key))
				book.broken(3, `message ${key} is sent, and the application goes on by itself`);
			if (message.which === "reply" && !book.rpcs.has(String(message.reply)))
				book.broken(1, `message ${key} carries RPC ${message.reply}, which was not dispatched`);
			const content = message.which === "data" ? { bytes: message.data.length } : { rpc: message.reply };
			book.sent.set(key, { phase: "sent", ...content });
			break;
		}
		case "transfer": {
			const { id, address, conn } = op.transfer;
			const key = connKey(id, address);
			if (book.connections.get(conn) !== "script")
				book.broken(6, `connection ${conn} is handed over, and is not the script's`);
			if (book.sent.has(key)) book.broken(6, `a connection is handed over as ${key} twice`);
			if (book.owned.has(key)) book.broken(3, `${key} is handed over, and the application goes on by itself`);
			book.connections.set(conn, "application");
			book.sent.set(key, { phase: "sent" });
			break;
		}
		case "adopt": {
			const { id, address, conn } = op.adopt;
			const key = connKey(id, address);
			if (book.offers.get(key) !== "open") book.broken(6, `${key} is adopted, and is not to be had`);
			if (book.connections.has(conn)) book.broken(6, `connection ${conn} is made twice`);
			book.offers.set(key, "adopted");
			book.connections.set(conn, "script");
			break;
		}
		case "decide":
			judgeDecision(book, op.decide.claim, op.decide.error, input);
			break;
		case "void": {
			const sent = book.sent.get(String(op.void));
			if (sent === undefined) book.broken(5, `message ${op.void} is voided and was never sent`);
			else sent.phase = "voided";
			break;
		}
		case "withdraw":
			judgeWithdrawal(book, op.withdraw, input);
			break;
		case "scriptEnded":
			book.ends += 1;
			book.script = "ended";
			book.announced.clear();
			book.announcedCount = 0;
			if (book.ends > 1) book.broken(7, "the script ends twice");
			if (input.input === "exit" && input.error !== undefined) noteCause(book, input.error);
			break;
		default:
	}
}

function judgeWithdrawal(
	book: Book,
	{ id, address, ofApp }: { id: bigint; address: string; ofApp: boolean },
	input: Input,
): void {
	const key = connKey(id, address);
	if (ofApp) {
		const late = input.input === "event" && input.event.which === "connOffered" && book.script !== "running";
		if (!late && book.offers.get(key) !== "open")
			book.broken(6, `${key} of the application is withdrawn, and is not to be had`);
		book.offers.set(key, "withdrawn");
		return;
	}
	const sent = book.sent.get(key);
	if (sent?.phase !== "sent") book.broken(6, `${key} is withdrawn, and is not to be had`);
	else sent.phase = "voided";
}

/** Under `fail` who waits hears the script's own error. */
function noteCause(book: Book, error: ErrorValue): void {
	if (book.rules.onFailure === "fail") book.refused.add(error.code);
}

function judgeDecision(book: Book, number: bigint, error: ErrorValue, input: Input): void {
	const claim = book.claims.get(number);
	if (claim === undefined) {
		book.broken(1, `claim ${number} is answered, and is not open`);
		return;
	}
	const announced = announcedClaims(book).has(number);
	book.claims.delete(number);
	const sent = book.sent.get(claim.key);
	const { code } = error;
	if (claim.diverges !== (code === "diverged")) {
		book.broken(
			4,
			`claim ${number} ${claim.diverges ? "diverges" : "does not diverge"}, the answer is ${code}`,
		);
	}
	if (code === "deadline" && input.now < claim.deadline)
		book.broken(1, `claim ${number} is late before its deadline`);
	if (code === "miss") {
		if (sent?.phase === "sent") book.broken(1, `claim ${number} is missed, and ${claim.key} was sent`);
		if (announced && book.script === "running" && !book.owned.has(claim.key))
			book.broken(3, `claim ${number} is missed, and ${claim.key} was announced`);
	}
	if (code === "miss" && input.input === "exit" && book.refused.size > 0)
		book.broken(7, `claim ${number} is missed, and the cause was ${[...book.refused].join()}`);
	if (code === "alreadyClaimed" && sent?.phase !== "served")
		book.broken(5, `claim ${number} of ${claim.key}, which was not received before`);
	if (code === "voided" && sent?.phase !== "voided")
		book.broken(5, `claim ${number} of ${claim.key}, which is not void`);
	if (!claim.diverges && sent?.phase === "failed" && sent.error !== undefined && code !== sent.error)
		book.broken(7, `claim ${number} fails with ${code}, and the cause was ${sent.error}`);
	if (sent === undefined && ["miss", "deadline", "diverged"].includes(code)) book.owned.add(claim.key);
}

function judgeAnswer(
	book: Book,
	it: Extract<Effect, { waiter: number }> & { outcome: Outcome<unknown> },
	input: Input,
): void {
	const { now } = input;
	const wait = book.waits.get(it.waiter);
	book.waits.delete(it.waiter);
	if (wait === undefined || wait.for !== it.effect) {
		book.broken(1, `waiter ${it.waiter} is answered, and does not wait for a ${it.effect}`);
		return;
	}
	if ("error" in it.outcome) {
		const { code } = it.outcome.error;
		if (code === "deadline" && now < wait.deadline)
			book.broken(1, `waiter ${it.waiter} is late before its deadline`);
		if (code === "alreadyClaimed" && wait.for === "message" && !book.appMessages.get(wait.key)?.received)
			book.broken(5, `message ${wait.key} was not received before`);
		const left = input.input === "event" && input.event.which === "sandboxExited";
		if (left && code !== book.appGone)
			book.broken(7, `waiter ${it.waiter} hears ${code}, and the cause was ${book.appGone}`);
		const done = book.rpcs.get(wait.key)?.done;
		if (wait.for === "reply" && done !== undefined && book.script === "running") {
			if ("ok" in done && code !== "tooMany")
				book.broken(1, `the reply of RPC ${wait.key} came, the answer is ${code}`);
			if ("error" in done && done.error.code !== code)
				book.broken(7, `RPC ${wait.key} failed with ${done.error.code}, the answer is ${code}`);
		}
		return;
	}
	switch (it.effect) {
		case "reply": {
			const done = book.rpcs.get(wait.key)?.done;
			const same =
				done !== undefined &&
				"ok" in done &&
				"ok" in it.outcome &&
				done.ok.status === it.outcome.ok.status &&
				done.ok.length === it.outcome.ok.length;
			if (!same) book.broken(1, `the script got another reply of RPC ${wait.key} than came`);
			break;
		}
		case "message": {
			const message = book.appMessages.get(wait.key);
			if (message === undefined || !("ok" in it.outcome) || it.outcome.ok.length !== message.length)
				book.broken(1, `the script got another message ${wait.key} than the application sent`);
			else if (message.received) book.broken(5, `message ${wait.key} is received twice`);
			else message.received = true;
			break;
		}
		case "conn":
			if (!book.offers.has(wait.key)) book.broken(6, `${wait.key} was never handed over to the script`);
			break;
	}
}
