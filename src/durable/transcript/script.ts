/** The script's side: its calls, in order (rules 2, 3, 6 and 7). */
import type { ScriptOp } from "../../isolates/protocol.ts";
import type { ErrorCode, ErrorValue } from "../../shared/error.ts";
import { requestMark } from "../../shared/fingerprint.ts";
import { messageFailed } from "./claims.ts";
import { beyond } from "./limits.ts";
import { addLine, connKey, type Effect, type Message, ownsConn, ownsMessage, type State } from "./state.ts";

/** How many RPCs beyond the limit are remembered, so that the script hears why they failed. */
const MAX_REFUSED = 64;

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
		case "sendMsg":
			sendMsg(state, now, op, effects);
			break;
		case "sendReply":
			sendReply(state, now, op, effects);
			break;
		case "transferConn":
			transferConn(state, now, op, effects);
			break;
		case "expect":
			state.expectedCount = Math.min(
				state.expectedCount + op.count,
				state.rules.maxMessages + state.rules.maxConnections,
			);
			break;
		case "expectMsg":
			if (state.expectedIds.size < state.rules.maxMessages && !state.messages.has(op.id)) {
				state.expectedIds.add(op.id);
			}
			break;
		case "log":
			addLine(state, now, op.level, op.text);
			break;
	}
}

function connect(state: State, now: number, { conn, address }: OpOf<"connect">, effects: Effect[]): void {
	const before = state.connections.get(conn);
	if (before !== undefined) {
		if (before.address === address && !before.handedOver) return;
		fault(state, now, "invalidArgument", `connection ${conn} is in use for another address`);
	} else if (state.connections.size >= state.rules.maxConnections) {
		refuse(state, now, beyond("connections", state.connections.size + 1, state.rules.maxConnections));
	} else {
		state.connections.set(conn, { address, handedOver: false });
		effects.push({ effect: "submit", op: { which: "connect", connect: { conn, address } } });
	}
}

function sendRpc(state: State, now: number, op: OpOf<"sendRpc">, effects: Effect[]): void {
	const { conn, rpc, request, timeoutMs = 0, to } = op;
	const mark = requestMark(conn, request, to);
	const before = state.rpcs.get(rpc);
	if (before !== undefined) {
		// Asking again for what is in flight waits for it; another request needs another id.
		if (before.fingerprint !== mark)
			fault(state, now, "rpcDuplicate", `RPC ${rpc} was sent with another request`);
		return;
	}
	const refused = refusal(state, conn, rpc, request.length);
	if (refused !== undefined) {
		refuse(state, now, refused);
		if (state.rpcs.size >= state.rules.maxRpcs + MAX_REFUSED) return;
	}
	state.rpcs.set(rpc, {
		fingerprint: mark,
		phase: refused === undefined ? "sent" : "refused",
		content: "",
		idempotent: refused !== undefined,
		outdated: false,
		messages: [],
		outcome: refused === undefined ? undefined : { error: refused },
	});
	if (refused !== undefined) return;
	state.bytes += request.length;
	const send = {
		conn,
		rpc,
		request,
		timeoutMillis: timeoutMs,
		place: to?.place ?? "",
		placeOffset: BigInt(to?.offset ?? 0),
		placeRoom: BigInt(to?.room ?? 0),
	};
	effects.push({ effect: "submit", op: { which: "send", send } });
}

function refusal(state: State, conn: number, rpc: bigint, bytes: number): ErrorValue | undefined {
	const { maxRpcs, maxConnections, maxBytes } = state.rules;
	if (ownsMessage(state, rpc)) {
		return { code: "appOwns", message: `the application asked for ${rpc} first and does it itself` };
	}
	const connection = state.connections.get(conn);
	if (connection === undefined) {
		if (state.connections.size >= maxConnections) {
			return beyond("connections", state.connections.size + 1, maxConnections);
		}
		return { code: "invalidArgument", message: `RPC ${rpc} names connection ${conn}, which does not exist` };
	}
	if (connection.handedOver) {
		return { code: "invalidArgument", message: `RPC ${rpc} names connection ${conn}, which was handed over` };
	}
	if (state.rpcs.size >= maxRpcs) return beyond("rpcs", state.rpcs.size + 1, maxRpcs);
	if (state.bytes + bytes > maxBytes) return beyond("bytes", state.bytes + bytes, maxBytes);
	return undefined;
}

function sendMsg(state: State, now: number, { id, data }: OpOf<"sendMsg">, effects: Effect[]): void {
	if (!mayPublish(state, now, id, data.length)) return;
	state.bytes += data.length;
	publish(state, id, { rpc: undefined, bytes: data.length, phase: "sent", error: undefined });
	const message = { which: "data", data, id, content: "" } as const;
	effects.push({ effect: "submit", op: { which: "message", message } });
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
	source?.messages.push(id);
	if (source?.outdated) voidMessage(state, id, effects);
}

/** Nobody can have a message any more (rule 5). */
export function voidMessage(state: State, id: bigint, effects: Effect[]): void {
	const message = state.messages.get(id);
	if (message !== undefined) message.phase = "voided";
	effects.push({ effect: "submit", op: { which: "void", void: id } });
}

/** The connection is the application's from now on, and nobody's else (rule 6). */
function transferConn(state: State, now: number, op: OpOf<"transferConn">, effects: Effect[]): void {
	const { id, address, conn } = op;
	const key = connKey(id, address);
	const connection = state.connections.get(conn);
	if (connection === undefined || connection.handedOver) {
		const why = connection === undefined ? "does not exist" : "was handed over before";
		fault(state, now, "invalidArgument", `connection ${conn}, which is to be handed over, ${why}`);
	} else if (state.transfers.has(key)) {
		fault(state, now, "messageDuplicate", `a connection was handed over as ${key} before`);
	} else if (ownsConn(state, key)) {
		fault(state, now, "appOwns", `the application asked for connection ${key} first and goes on by itself`);
	} else {
		connection.handedOver = true;
		state.transfers.set(key, { id, address, conn, phase: "sent", error: undefined });
		if (state.expectedCount > 0) state.expectedCount -= 1;
		effects.push({ effect: "submit", op: { which: "transfer", transfer: { id, address, conn } } });
	}
}

function mayPublish(state: State, now: number, id: bigint, bytes: number): boolean {
	const { maxMessages, maxBytes } = state.rules;
	if (state.messages.has(id)) {
		fault(state, now, "messageDuplicate", `message ${id} was sent before`);
	} else if (ownsMessage(state, id)) {
		fault(state, now, "appOwns", `the application asked for message ${id} first and goes on by itself`);
	} else if (state.messages.size >= maxMessages) {
		refuse(state, now, beyond("messages", state.messages.size + 1, maxMessages));
	} else if (state.bytes + bytes > maxBytes) {
		refuse(state, now, beyond("bytes", state.bytes + bytes, maxBytes));
	} else {
		return true;
	}
	return false;
}

function publish(state: State, id: bigint, message: Message): void {
	state.messages.set(id, message);
	if (!state.expectedIds.delete(id) && state.expectedCount > 0) state.expectedCount -= 1;
}

function fault(state: State, now: number, code: ErrorCode, message: string): void {
	addLine(state, now, "error", `${code}: ${message}`);
}

function refuse(state: State, now: number, { code, message }: ErrorValue): void {
	fault(state, now, code, message);
}

function errorOf(
	outcome: { error: { code: string; message: string } } | { ok: unknown } | undefined,
): ErrorValue {
	return outcome !== undefined && "error" in outcome
		? (outcome.error as ErrorValue)
		: { code: "internal", message: "the RPC was refused" };
}
