/** What comes from a runner is hostile: its shapes and sizes are checked here, and only here. */
import type { Outcome, ReplyPlace, ScriptError, ScriptExit, ScriptOp } from "../../isolates/protocol.ts";
import { type ErrorValue, isErrorCode } from "../../shared/error.ts";

const MAX_OPS = 4096;
const MAX_ADDRESS = 4096;
const MAX_BYTES = 2 << 20;
const MAX_TEXT = 8192;
const MAX_STACK = 16_384;
const U64 = 0xffff_ffff_ffff_ffffn;
const U32 = 0xffff_ffff;

const LEVELS = ["debug", "info", "warn", "error"] as const;

/** The calls of a batch. Throws a TypeError for anything that is not one. */
export function parseOps(value: unknown): ScriptOp[] {
	if (!Array.isArray(value) || value.length > MAX_OPS)
		throw new TypeError(`a list of at most ${MAX_OPS} calls`);
	return value.map(parseOp);
}

export function parseId(value: unknown): bigint {
	if (typeof value !== "bigint" || value < 0n || value > U64) throw new TypeError("an unsigned 64-bit id");
	return value;
}

export function parseU32(value: unknown): number {
	if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > U32) {
		throw new TypeError("an unsigned 32-bit number");
	}
	return value;
}

export function parseAddress(value: unknown): string {
	return text(value, MAX_ADDRESS);
}

/** The longest that a call may take, where it says so. */
export function parseTimeout(value: unknown): { timeoutMs?: number } {
	return value === undefined ? {} : { timeoutMs: parseU32(value) };
}

/** Where a reply goes, where it says so. */
function parsePlace(value: unknown): { to?: ReplyPlace } {
	if (value === undefined) return {};
	const { place, offset, room } = record(value);
	return { to: { place: parseAddress(place), offset: parseU32(offset), room: parseU32(room) } };
}

/** What `run` answered. Throws a TypeError for another shape. */
export function parseRun(value: unknown): Outcome<ScriptExit> {
	const outcome = record(value);
	if (outcome.error !== undefined) return { error: parseError(outcome.error) };
	const exit = record(outcome.ok);
	const ops = parseOps(exit.ops);
	switch (exit.end) {
		case "exit":
			return { ok: { ops, end: "exit", status: parseU32(exit.status) } };
		case "trap":
		case "limit":
		case "deadline": {
			const stack = typeof exit.stack === "string" ? { stack: exit.stack.slice(0, MAX_STACK) } : {};
			return { ok: { ops, end: exit.end, error: parseError(exit.error), ...stack } };
		}
		default:
			throw new TypeError("an end of a script");
	}
}

/** What `load` answered: the error, or undefined. */
export function parseLoad(value: unknown): ErrorValue | undefined {
	const { error } = record(value);
	return error === undefined ? undefined : errorValue(parseError(error));
}

/** An error of a script with a code that we know. */
export function errorValue(error: ScriptError): ErrorValue {
	return { code: isErrorCode(error.code) ? error.code : "initscriptFailed", message: error.message };
}

function parseOp(value: unknown): ScriptOp {
	const op = record(value);
	switch (op.op) {
		case "connect":
			return { op: "connect", conn: parseU32(op.conn), address: parseAddress(op.address) };
		case "sendRpc":
			return {
				op: "sendRpc",
				conn: parseU32(op.conn),
				rpc: parseId(op.rpc),
				request: bytes(op.request),
				...parseTimeout(op.timeoutMs),
				...parsePlace(op.to),
			};
		case "sendMsg":
			return { op: "sendMsg", id: parseId(op.id), data: bytes(op.data) };
		case "sendReply":
			return { op: "sendReply", id: parseId(op.id), rpc: parseId(op.rpc) };
		case "transferConn":
			return {
				op: "transferConn",
				id: parseId(op.id),
				address: parseAddress(op.address),
				conn: parseU32(op.conn),
			};
		case "expect":
			return { op: "expect", count: parseU32(op.count) };
		case "expectMsg":
			return { op: "expectMsg", id: parseId(op.id) };
		case "log": {
			const level = LEVELS.find((it) => it === op.level) ?? "info";
			return { op: "log", level, text: text(op.text, Number.POSITIVE_INFINITY).slice(0, MAX_TEXT) };
		}
		default:
			throw new TypeError("a call of the initscript API");
	}
}

function parseError(value: unknown): ScriptError {
	const { code, message } = record(value);
	return { code: text(code, 64), message: text(message, Number.POSITIVE_INFINITY).slice(0, MAX_TEXT) };
}

function record(value: unknown): Record<string, unknown> {
	if (typeof value !== "object" || value === null) throw new TypeError("an object was expected");
	return value as Record<string, unknown>;
}

function text(value: unknown, most: number): string {
	if (typeof value !== "string" || value.length > most)
		throw new TypeError(`a text of at most ${most} characters`);
	return value;
}

function bytes(value: unknown): Uint8Array {
	if (!(value instanceof Uint8Array) || value.length > MAX_BYTES) {
		throw new TypeError(`at most ${MAX_BYTES} bytes`);
	}
	return value;
}
