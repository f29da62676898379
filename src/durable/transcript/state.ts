/** What a transcript knows of its instance. Changed by the reducer only. */
import type { Op } from "../../bridge/bridge.ts";
import type { Outcome, ScriptReply } from "../../isolates/protocol.ts";
import type { ErrorValue } from "../../shared/error.ts";
import type { Missed, ScriptLine } from "../../shared/record.ts";

/** How long an unexpected claim waits for a running script, milliseconds. */
export const CLAIM_WAIT_MS = 20;
/** How many replies a script may wait for at once. */
export const MAX_WAITERS = 1024;
/** How many lines of a script are kept. */
export const MAX_SCRIPT_LINES = 500;
/** How many misses are kept for the record. */
export const MAX_MISSED = 500;

export interface Rules {
	/** Whether there is a script whose sends can be waited for. */
	script: boolean;
	/** What a script's failure means to the invocation. */
	onFailure: "fallback" | "fail";
	maxRpcs: number;
	maxConnections: number;
	maxMessages: number;
	/** Bytes of all requests and messages of the script. */
	maxBytes: number;
}

export interface Rpc {
	/** Tells two requests under one id apart. */
	readonly fingerprint: string;
	/** `refused`: never sent to the bridge. */
	phase: "sent" | "done" | "refused";
	/** The bridge's name of it, once it has accepted it. */
	content: string;
	outcome: Outcome<ScriptReply> | undefined;
	/** Who waits for the outcome. */
	waiters: number[];
}

export interface Message {
	/** The RPC whose reply it carries; undefined for the script's own bytes. */
	readonly rpc: bigint | undefined;
	readonly bytes: number;
	phase: "sent" | "failed" | "served" | "voided";
	error: ErrorValue | undefined;
}

export interface Claim {
	readonly id: bigint;
	readonly content: string;
	/** How long the application itself waits, milliseconds since the Unix epoch. */
	readonly deadline: number;
	/** Whether the script has announced it. */
	expected: boolean;
}

export interface State {
	readonly rules: Rules;
	script: "none" | "running" | "ended";
	/** 1 for the first one; initscripts serve only that. */
	invocation: number;
	closed: ErrorValue | undefined;
	readonly connections: Map<number, string>;
	readonly rpcs: Map<bigint, Rpc>;
	readonly messages: Map<bigint, Message>;
	/** Claims without an answer, by the bridge's number. */
	readonly claims: Map<bigint, Claim>;
	/** Ids that the application asked for first and does by itself. */
	readonly owned: Set<bigint>;
	readonly expectedIds: Set<bigint>;
	/** How many more messages the script has announced without an id. */
	expectedCount: number;
	divergences: number;
	/** Bytes of the script's requests and messages so far. */
	bytes: number;
	readonly missed: Missed[];
	readonly lines: ScriptLine[];
}

/** What the driver is to do. Effects are done in order. */
export type Effect =
	/** Tells the bridge; consecutive ones travel together. */
	| { effect: "submit"; op: Op }
	/** Answers a waiting recvRpcReply. */
	| { effect: "reply"; waiter: number; outcome: Outcome<ScriptReply> }
	/** Gives the input `timer` with this claim back after so many milliseconds. */
	| { effect: "timer"; claim: bigint; ms: number }
	/** The invocation fails with this error. */
	| { effect: "fail"; error: ErrorValue };

export function initialState(rules: Rules): State {
	return {
		rules,
		script: rules.script ? "running" : "none",
		invocation: 1,
		closed: undefined,
		connections: new Map(),
		rpcs: new Map(),
		messages: new Map(),
		claims: new Map(),
		owned: new Set(),
		expectedIds: new Set(),
		expectedCount: 0,
		divergences: 0,
		bytes: 0,
		missed: [],
		lines: [],
	};
}

export function addLine(state: State, now: number, level: ScriptLine["level"], text: string): void {
	if (state.lines.length < MAX_SCRIPT_LINES) state.lines.push({ at: now, level, text });
}
