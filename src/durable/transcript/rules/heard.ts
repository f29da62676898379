import type { Event } from "../../../bridge/generated/bridge.ts";
import type { ScriptOp } from "../../../isolates/protocol.ts";
import type { ErrorValue } from "../../../shared/error.ts";
import type { Input } from "../reducer.ts";
import { connKey, type Effect } from "../state.ts";
import type { Book, OpenWait } from "./book.ts";

/** What happened goes into the books. */
export function hear(book: Book, input: Input, effects: readonly Effect[]): void {
	switch (input.input) {
		case "ops":
			if (book.script === "running") hearOps(book, input.ops, effects);
			break;
		case "receive":
			book.waits.set(input.waiter, openWait("reply", String(input.rpc), input));
			break;
		case "recvMsg":
			book.waits.set(input.waiter, openWait("message", String(input.id), input));
			break;
		case "getConn":
			book.waits.set(input.waiter, openWait("conn", connKey(input.id, input.address), input));
			break;
		case "restart":
			book.repeated = 0;
			for (const message of book.appMessages.values()) message.received = false;
			break;
		case "event":
			hearEvent(book, input.now, input.event);
			break;
		case "invocation":
			book.invocation += 1;
			break;
		case "close":
			book.closed = true;
			break;
		default:
	}
}

/** Announcements, and messages that carry nothing that was sent. */
function hearOps(book: Book, ops: readonly ScriptOp[], effects: readonly Effect[]): void {
	const published = new Set<string>();
	for (const it of effects) {
		if (it.effect !== "submit") continue;
		if (it.op.which === "message") published.add(nameOf(it.op.message));
		if (it.op.which === "transfer") published.add(nameOf(it.op.transfer));
	}
	const { maxMessages, maxConnections } = book.rules;
	const use = (key: string): void => {
		if (!book.announced.delete(key) && book.announcedCount > 0) book.announcedCount -= 1;
	};
	const messages = new Set([...book.sent.keys()].filter((key) => !key.includes(" ")));
	const dispatched = new Set(book.rpcs.keys());
	const connected = new Set(book.connections.keys());
	for (const op of ops) {
		if (op.op === "log") continue;
		if (book.repeated < book.calls) {
			book.repeated += 1;
			continue;
		}
		book.calls += 1;
		book.repeated += 1;
		if (op.op === "expect") {
			book.announcedCount = Math.min(book.announcedCount + op.count, maxMessages + maxConnections);
		} else if (op.op === "expectMsg") {
			const key = String(op.id);
			if (book.announced.size < maxMessages && !messages.has(key)) book.announced.add(key);
		} else if (op.op === "sendRpc") {
			const sends = (it: Effect): boolean =>
				it.effect === "submit" && it.op.which === "send" && it.op.send.rpc === op.rpc;
			if (effects.some(sends)) dispatched.add(String(op.rpc));
		} else if (op.op === "transferConn") {
			const key = connKey(op.id, op.address);
			if (connected.has(op.conn) && published.delete(nameOf(op))) use(key);
		} else if (op.op === "connect") {
			connected.add(op.conn);
		} else if (op.op === "sendMsg" || op.op === "sendReply") {
			const key = String(op.id);
			const vain = op.op === "sendReply" && !dispatched.has(String(op.rpc));
			const fails = vain && !messages.has(key) && !book.owned.has(key) && messages.size < maxMessages;
			if (fails) book.sent.set(key, { phase: "failed" });
			const name = op.op === "sendMsg" ? nameOf(op) : nameOf({ id: op.id, reply: op.rpc });
			if (!fails && !published.delete(name)) continue;
			messages.add(key);
			use(key);
		}
	}
}

/** Tells what one call of a batch has sent from what another has under the same id, which was refused. */
function nameOf(
	it:
		| { id: bigint; address: string; conn: number }
		| { id: bigint; data: Uint8Array }
		| { id: bigint; reply: bigint },
): string {
	const what =
		"conn" in it
			? `${it.conn} ${it.address}`
			: "data" in it
				? `${it.data.length} bytes`
				: `reply ${it.reply}`;
	return `${it.id} ${what}`;
}

function hearEvent(book: Book, now: number, it: Event): void {
	switch (it.which) {
		case "rpcAccepted": {
			const rpc = book.rpcs.get(String(it.rpcAccepted.rpc));
			if (rpc === undefined) book.broken(2, `RPC ${it.rpcAccepted.rpc} was never dispatched`);
			else if (rpc.content !== undefined) book.broken(2, `RPC ${it.rpcAccepted.rpc} was dispatched twice`);
			else rpc.content = it.rpcAccepted.content;
			break;
		}
		case "rpcDone": {
			const { rpc: id, error, reply } = it.rpcDone;
			const rpc = book.rpcs.get(String(id));
			if (rpc === undefined) book.broken(2, `the reply of RPC ${id}, which was never dispatched`);
			else if (rpc.done !== undefined) book.broken(2, `RPC ${id} has two replies`);
			else {
				const ok = { status: reply.status, length: Number(reply.length) };
				rpc.done = error.code === "ok" ? { ok } : { error };
			}
			break;
		}
		case "claimed": {
			const { claim, id, content, connection, diverges, deadlineMillis } = it.claimed;
			book.claims.set(claim, {
				id,
				connection,
				key: connection ? connKey(id, content) : String(id),
				deadline: now + deadlineMillis,
				diverges: diverges !== "",
				uncoveredSince: now,
				covered: false,
			});
			break;
		}
		case "served":
			hearServed(book, String(it.served.id), it.served.error, Number(it.served.bytes));
			break;
		case "messageFailed": {
			const sent = book.sent.get(String(it.messageFailed.id));
			if (sent?.phase === "sent")
				Object.assign(sent, { phase: "failed", error: it.messageFailed.error.code });
			break;
		}
		case "appMessage": {
			const key = String(it.appMessage.id);
			if (book.script !== "running") break;
			if (book.appMessages.has(key)) book.broken(1, `two messages ${key} of the application`);
			else book.appMessages.set(key, { length: Number(it.appMessage.length), received: false });
			break;
		}
		case "connOffered": {
			const key = connKey(it.connOffered.id, it.connOffered.address);
			if (book.script !== "running") break;
			if (book.offers.has(key)) book.broken(6, `connection ${key} was offered twice`);
			else book.offers.set(key, "open");
			break;
		}
		case "connReady":
		case "connTaken": {
			const { id, address, error } = it.which === "connReady" ? it.connReady : it.connTaken;
			const sent = book.sent.get(connKey(id, address));
			if (["deadline", "cancelled", "alreadyClaimed", "instanceClosed"].includes(error.code)) break;
			if (sent === undefined) book.broken(6, `connection ${connKey(id, address)} was never handed over`);
			else if (error.code !== "ok" && sent.phase === "sent")
				Object.assign(sent, { phase: "failed", error: error.code });
			else if (it.which === "connTaken") hearServed(book, connKey(id, address), error, undefined);
			break;
		}
		case "invocationTaken":
			book.taken = Math.max(book.taken, Number(it.invocationTaken));
			break;
		case "sandboxExited":
			book.appGone ??= it.sandboxExited.error.code === "ok" ? "appExited" : it.sandboxExited.error.code;
			break;
		case "ended":
			book.closed = true;
			break;
		default:
	}
}

/** The bridge gave the application what the script had sent. */
function hearServed(book: Book, key: string, error: ErrorValue, bytes: number | undefined): void {
	const sent = book.sent.get(key);
	// Who gives up before anything is sent does so for itself.
	if (sent === undefined && error.code !== "ok") return;
	for (const [number, it] of book.claims) if (it.key === key) book.claims.delete(number);
	if (error.code !== "ok") return;
	const rule = key.includes(" ") ? 6 : 5;
	if (sent === undefined) {
		book.broken(rule === 6 ? 6 : 1, `${key} was given to the application and never sent`);
		return;
	}
	if (sent.phase === "served") book.broken(rule, `${key} was given to the application twice`);
	if (book.taken > 1) book.broken(5, `${key} was given to a later invocation`);
	if (sent.bytes !== undefined && bytes !== undefined && sent.bytes !== bytes)
		book.broken(1, `message ${key} has ${sent.bytes} bytes, ${bytes} were received`);
	// A connection may be taken while it is being withdrawn.
	if (sent.phase === "sent" || rule === 6) sent.phase = "served";
}

function openWait(
	what: OpenWait["for"],
	key: string,
	{ now, timeoutMs = 0 }: { now: number; timeoutMs?: number },
): OpenWait {
	return { for: what, key, deadline: timeoutMs === 0 ? Number.POSITIVE_INFINITY : now + timeoutMs };
}
