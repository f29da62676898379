/** The script's side: its calls, in order (rules 2, 3 and 7). */
import type { ScriptOp } from "../../isolates/protocol.ts";
import type { ErrorCode, ErrorValue } from "../../shared/error.ts";
import { expectationsGrew, messageFailed } from "./claims.ts";
import { addLine, type Effect, type Message, type State } from "./state.ts";

type OpOf<K extends ScriptOp["op"]> = Extract<ScriptOp, { op: K }>;

/** Applies one call of the script. What is wrong with it shows at its reply or message, and in the transcript. */
export function scriptOp(state: State, now: number, op: ScriptOp, effects: Effect[]): void {
	switch (op.op) {
		case "connect":
			connect(state, now, op, effects);
			break;
		case "sendRpc":
			sendRpc(state, now, op, effects);
			break;
		case "sendMsg": {
			const { id, data } = op;
			if (!mayPublish(state, now, id, data.length)) break;
			state.bytes += data.length;
			publish(state, id, { rpc: undefined, bytes: data.length, phase: "sent", error: undefined });
			effects.push({
				effect: "submit",
				op: { which: "message", message: { which: "data", data, id, content: "" } },
			});
			break;
		}
		case "sendReply":
			sendReply(state, now, op, effects);
			break;
		case "expect":
			state.expectedCount = Math.min(state.expectedCount + op.count, state.rules.maxMessages);
			expectationsGrew(state, now, effects);
			break;
		case "expectMsg":
			if (state.expectedIds.size < state.rules.maxMessages && !state.messages.has(op.id)) {
				state.expectedIds.add(op.id);
				expectationsGrew(state, now, effects);
			}
			break;
		case "log":
			addLine(state, now, op.level, op.text);
			break;
	}
}

function connect(state: State, now: number, { conn, address }: OpOf<"connect">, effects: Effect[]): void {
	if (state.connections.get(conn) === address) return;
	if (state.connections.has(conn)) {
		fault(state, now, "invalidArgument", `connection ${conn} is in use for another address`);
	} else if (state.connections.size >= state.rules.maxConnections) {
		const { code, message } = beyond("connections", state.connections.size + 1, state.rules.maxConnections);
		fault(state, now, code, message);
	} else {
		state.connections.set(conn, address);
		effects.push({ effect: "submit", op: { which: "connect", connect: { conn, address } } });
	}
}

function sendRpc(
	state: State,
	now: number,
	{ conn, rpc, request }: OpOf<"sendRpc">,
	effects: Effect[],
): void {
	const mark = fingerprint(conn, request);
	const before = state.rpcs.get(rpc);
	if (before !== undefined) {
		// Asking again for what is in flight waits for it; another request needs another id.
		if (before.fingerprint !== mark)
			fault(state, now, "rpcDuplicate", `RPC ${rpc} was sent with another request`);
		return;
	}
	const refused = refusal(state, conn, rpc, request.length);
	if (refused !== undefined) {
		fault(state, now, refused.code, refused.message);
		if (state.rpcs.size >= state.rules.maxRpcs) return;
		state.rpcs.set(rpc, {
			fingerprint: mark,
			phase: "refused",
			content: "",
			outcome: { error: refused },
			waiters: [],
		});
		return;
	}
	state.bytes += request.length;
	state.rpcs.set(rpc, { fingerprint: mark, phase: "sent", content: "", outcome: undefined, waiters: [] });
	effects.push({ effect: "submit", op: { which: "send", send: { conn, rpc, request, timeoutMillis: 0 } } });
}

function refusal(state: State, conn: number, rpc: bigint, bytes: number): ErrorValue | undefined {
	const { maxRpcs, maxConnections, maxBytes } = state.rules;
	if (state.owned.has(rpc)) {
		return { code: "appOwns", message: `the application asked for ${rpc} first and does it itself` };
	}
	if (!state.connections.has(conn)) {
		if (state.connections.size >= maxConnections) {
			return beyond("connections", state.connections.size + 1, maxConnections);
		}
		return { code: "invalidArgument", message: `RPC ${rpc} names connection ${conn}, which does not exist` };
	}
	if (state.rpcs.size >= maxRpcs) return beyond("rpcs", state.rpcs.size + 1, maxRpcs);
	if (state.bytes + bytes > maxBytes) return beyond("bytes", state.bytes + bytes, maxBytes);
	return undefined;
}

function sendReply(state: State, now: number, { id, rpc }: OpOf<"sendReply">, effects: Effect[]): void {
	if (!mayPublish(state, now, id, 0)) return;
	const source = state.rpcs.get(rpc);
	const missing: ErrorValue = {
		code: "rpcUnknown",
		message: `message ${id} carries RPC ${rpc}, which was not sent`,
	};
	const error =
		source === undefined ? missing : source.phase === "refused" ? errorOf(source.outcome) : undefined;
	if (error !== undefined) {
		publish(state, id, { rpc, bytes: 0, phase: "failed", error });
		if (source === undefined) fault(state, now, "rpcUnknown", missing.message);
		messageFailed(state, id, error, effects);
		return;
	}
	publish(state, id, { rpc, bytes: 0, phase: "sent", error: undefined });
	effects.push({
		effect: "submit",
		op: { which: "message", message: { which: "reply", reply: rpc, id, content: "" } },
	});
}

function mayPublish(state: State, now: number, id: bigint, bytes: number): boolean {
	const { maxMessages, maxBytes } = state.rules;
	if (state.messages.has(id)) {
		fault(state, now, "messageDuplicate", `message ${id} was sent before`);
	} else if (state.owned.has(id)) {
		fault(state, now, "appOwns", `the application asked for message ${id} first and goes on by itself`);
	} else if (state.messages.size >= maxMessages) {
		const { code, message } = beyond("messages", state.messages.size + 1, maxMessages);
		fault(state, now, code, message);
	} else if (state.bytes + bytes > maxBytes) {
		const { code, message } = beyond("bytes", state.bytes + bytes, maxBytes);
		fault(state, now, code, message);
	} else {
		return true;
	}
	return false;
}

function publish(state: State, id: bigint, message: Message): void {
	state.messages.set(id, message);
	if (!state.expectedIds.delete(id) && state.expectedCount > 0) state.expectedCount -= 1;
}

/** The codes of the limits that are held here, by their names in [initscript.limits]. */
const LIMITS = {
	connections: "initscriptConnections",
	rpcs: "initscriptRpcs",
	messages: "initscriptMessages",
	bytes: "initscriptBytes",
} as const;

/** A limit that would be exceeded: it says the use and the limit. */
function beyond(what: keyof typeof LIMITS, use: number, most: number): ErrorValue {
	return { code: LIMITS[what], message: `${what}: ${use} of at most ${most}` };
}

function fault(state: State, now: number, code: ErrorCode, message: string): void {
	addLine(state, now, "error", `${code}: ${message}`);
}

function errorOf(
	outcome: { error: { code: string; message: string } } | { ok: unknown } | undefined,
): ErrorValue {
	return outcome !== undefined && "error" in outcome
		? (outcome.error as ErrorValue)
		: { code: "internal", message: "the RPC was refused" };
}

/** FNV-1a 32 over the bytes, beside the length: enough to tell a script's mistake, and not a matter of safety. */
function fingerprint(conn: number, request: Uint8Array): string {
	let hash = 0x811c9dc5;
	for (const byte of request) hash = Math.imul(hash ^ byte, 0x01000193);
	return `${conn}:${request.length}:${hash >>> 0}`;
}
