/** Checks calls that come from a script's own isolate: exactly the fields of {@link ScriptOp}, each within its bounds. */
import type { Id, ReplyPlace, ScriptOp } from "../protocol.ts";
import { LimitReached, ScriptFailure } from "./failure.ts";
import { limits } from "./limits.ts";

/** What a call costs of a batch's bytes, beside its own payload. */
const OVERHEAD = 64;

/** Bytes that a call takes on the wire, roughly. */
export function opBytes(op: ScriptOp): number {
	switch (op.op) {
		case "sendRpc":
			return OVERHEAD + op.request.byteLength + 3 * (op.to?.place.length ?? 0);
		case "sendMsg":
			return OVERHEAD + op.data.byteLength;
		case "connect":
		case "transferConn":
			return OVERHEAD + 3 * op.address.length;
		case "log":
			return OVERHEAD + 3 * op.text.length;
		default:
			return OVERHEAD;
	}
}

/** Throws {@link LimitReached} for more calls, or bytes of calls, than a script or a batch may have. */
export function checkUse(ops: number, bytes: number, batchBytes = 0): void {
	if (ops > limits.ops) throw new LimitReached("initscriptLimit", `calls: ${ops} of at most ${limits.ops}`);
	if (bytes > limits.totalBytes) {
		throw new LimitReached("initscriptBytes", `bytes: ${bytes} of at most ${limits.totalBytes}`);
	}
	const most = limits.batchBytes + limits.requestBytes;
	if (batchBytes > most) {
		throw new LimitReached("initscriptBytes", `bytes of a batch: ${batchBytes} of at most ${most}`);
	}
}

/** A fresh, well-formed call from an untrusted value. Throws `invalidArgument` or `payloadTooLarge`. */
export function cleanOp(value: unknown): ScriptOp {
	if (typeof value !== "object" || value === null) throw invalid("a call is an object");
	const field = (name: string): unknown => (value as Record<string, unknown>)[name];
	const op = field("op");
	switch (op) {
		case "connect":
			return { op, conn: u32(field("conn")), address: address(field("address")) };
		case "sendRpc":
			return {
				op,
				conn: u32(field("conn")),
				rpc: id(field("rpc")),
				request: bytes(field("request")),
				...timeout(field("timeoutMs")),
				...destination(field("to")),
			};
		case "sendMsg":
			return { op, id: id(field("id")), data: bytes(field("data")) };
		case "sendReply":
			return { op, id: id(field("id")), rpc: id(field("rpc")) };
		case "transferConn":
			return { op, id: id(field("id")), address: address(field("address")), conn: u32(field("conn")) };
		case "expect":
			return { op, count: u32(field("count")) };
		case "expectMsg":
			return { op, id: id(field("id")) };
		case "log":
			return { op, level: level(field("level")), text: text(field("text")).slice(0, limits.logCharacters) };
		default:
			throw invalid(`there is no call ${typeof op === "string" ? op.slice(0, 40) : typeof op}`);
	}
}

/** An id as it travels: the low 64 bits of a bigint. */
export function id(value: unknown): Id {
	if (typeof value !== "bigint") throw invalid("an id is a bigint or a text");
	if (value < 0n || value > 0xffffffffffffffffn) throw invalid("an id is an unsigned 64-bit number");
	return value;
}

export function u32(value: unknown): number {
	if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > 0xffffffff) {
		throw invalid(`${typeof value === "number" ? value : typeof value} is not an unsigned 32-bit number`);
	}
	return value;
}

export function bytes(value: unknown): Uint8Array {
	if (!(value instanceof Uint8Array)) throw invalid("a request or message is bytes or a text");
	if (value.byteLength > limits.requestBytes) {
		throw new ScriptFailure(
			"payloadTooLarge",
			`${value.byteLength} bytes: a request or message has at most ${limits.requestBytes}`,
		);
	}
	return value;
}

export function address(value: unknown): string {
	if (text(value).length > limits.addressBytes) {
		throw new ScriptFailure("payloadTooLarge", `an address has at most ${limits.addressBytes} bytes`);
	}
	return text(value);
}

/** Where a reply goes, where it says so. */
function destination(value: unknown): { to?: ReplyPlace } {
	if (value === undefined) return {};
	if (typeof value !== "object" || value === null) throw invalid("a reply's destination is an object");
	const { place, offset, room } = value as Record<string, unknown>;
	return { to: replyPlace(place, offset, room) };
}

/** Checks a reply's destination. */
export function replyPlace(place: unknown, offset: unknown, room: unknown): ReplyPlace {
	return { place: address(place), offset: u32(offset), room: u32(room) };
}

/** The longest that a call may take, where it says so. */
export function timeout(value: unknown): { timeoutMs?: number } {
	return value === undefined ? {} : { timeoutMs: u32(value) };
}

function text(value: unknown): string {
	if (typeof value !== "string") throw invalid("a text was expected");
	return value;
}

function level(value: unknown): "debug" | "info" | "warn" | "error" {
	if (value === "debug" || value === "info" || value === "warn" || value === "error") return value;
	throw invalid("a log level is debug, info, warn or error");
}

function invalid(message: string): ScriptFailure {
	return new ScriptFailure("invalidArgument", message);
}
