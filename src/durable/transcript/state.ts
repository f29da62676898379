/** What a transcript knows of its instance. Changed by the reducer only. */
import type { Op } from "../../bridge/generated/bridge.ts";
import type { Outcome, ScriptMessage, ScriptReply } from "../../isolates/protocol.ts";
import type { ErrorValue } from "../../shared/error.ts";
import type { Missed, ScriptLine } from "../../shared/record.ts";
import { placeOf } from "./place.ts";

/** How long an unexpected claim waits for a running script, milliseconds. */
export const CLAIM_WAIT_MS = 20;
/** How many calls of a script may wait at once. */
export const MAX_WAITS = 1024;
/** The longest timer, milliseconds: what lies beyond is asked for again. A clock's own bound is 2^31. */
export const MAX_TIMER_MS = 600_000;
/** How many lines of a script are kept. */
export const MAX_SCRIPT_LINES = 500;
/** How many misses are kept for the record. */
export const MAX_MISSED = 500;
/** How many ids the application may own: beyond, the script sends nothing new. */
export const MAX_OWNED = 10_000;
/** How many calls a script may make, logs aside. A runner ends it before that (isolates/script/limits.ts), if it is an honest one. */
export const MAX_CALLS = 10_000;
/** How many messages and connections of the application's a script may find waiting. */
export const MAX_FROM_APP = 1024;

export interface Rules {
	/** Whether there is a script whose sends can be waited for. */
	script: boolean;
	/** Whether there is an application that a script can wait for. */
	app: boolean;
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
	/** Whether it may be sent twice; unknown until the bridge has accepted it. */
	idempotent: boolean;
	/** The application has written to what it reads, after it was accepted. */
	outdated: boolean;
	/** The messages that carry its reply. */
	readonly messages: bigint[];
	outcome: Outcome<ScriptReply> | undefined;
}

/** Something that the script has sent to the application. */
export interface Sent {
	phase: "sent" | "failed" | "served" | "voided";
	error: ErrorValue | undefined;
}

export interface Message extends Sent {
	/** The RPC whose reply it carries; undefined for the script's own bytes. */
	readonly rpc: bigint | undefined;
	readonly bytes: number;
}

/** A connection that the script hands over. */
export interface Transfer extends Sent {
	readonly id: bigint;
	readonly address: string;
	readonly conn: number;
}

export interface Connection {
	readonly address: string;
	/** Whether it is the script's no more. */
	handedOver: boolean;
}

/** A message of the application's. */
export interface AppMessage extends ScriptMessage {
	received: boolean;
}

/** A connection that the application hands over. */
export interface Offer {
	readonly id: bigint;
	readonly address: string;
	/** The script's number of it, once that has it. */
	conn: number | undefined;
	/** Whether the invocation ended before the script took it. */
	withdrawn: boolean;
}

export interface Claim {
	readonly id: bigint;
	/** Of a connection: its address. */
	readonly content: string;
	readonly connection: boolean;
	/** How long the application itself waits, milliseconds since the Unix epoch. */
	readonly deadline: number;
	/** Until when it waits without being expected. */
	patience: number;
	/** Whether the script has announced it. */
	expected: boolean;
	/** When its next timer comes. */
	timer: number;
}

/** A call of the script that waits. `deadline`: milliseconds since the Unix epoch. */
export type Wait = { readonly deadline: number | undefined } & (
	| { readonly for: "reply"; readonly rpc: bigint }
	| { readonly for: "message"; readonly id: bigint }
	| { readonly for: "conn"; readonly id: bigint; readonly address: string; readonly conn: number }
);

export interface State {
	readonly rules: Rules;
	script: "none" | "running" | "ended";
	/** How the script failed. */
	scriptError: ErrorValue | undefined;
	/** 1 for the first one; initscripts serve only that. */
	invocation: number;
	closed: ErrorValue | undefined;
	/** Why the application sends nothing more. */
	appGone: ErrorValue | undefined;
	readonly connections: Map<number, Connection>;
	readonly rpcs: Map<bigint, Rpc>;
	/** Those that read and are not outdated, by their content. */
	readonly reads: Map<string, Rpc[]>;
	readonly messages: Map<bigint, Message>;
	/** By {@link connKey}, like all that is about handing connections over. */
	readonly transfers: Map<string, Transfer>;
	readonly appMessages: Map<bigint, AppMessage>;
	readonly offers: Map<string, Offer>;
	/** Claims without an answer, by the bridge's number. */
	readonly claims: Map<bigint, Claim>;
	/** Calls of the script without an answer. */
	readonly waits: Map<number, Wait>;
	/** Ids that the application asked for first and does by itself. */
	readonly owned: Set<bigint>;
	readonly ownedConns: Set<string>;
	readonly expectedIds: Set<bigint>;
	/** How many more messages and connections the script has announced without an id. */
	expectedCount: number;
	/** What the script has done, call by call, for the case that it must be run again; bounded as {@link MAX_CALLS} says. */
	readonly history: string[];
	/** How much of its history a script that was run again has repeated. */
	repeated: number;
	restarts: number;
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
	/** Answers a waiting recvRpcReply, recvMsg, getConn. */
	| { effect: "reply"; waiter: number; outcome: Outcome<ScriptReply> }
	| { effect: "message"; waiter: number; outcome: Outcome<ScriptMessage> }
	| { effect: "conn"; waiter: number; outcome: Outcome<true> }
	/** Gives the input `timer` with this claim, or `waitTimer` with this waiter, back after so many milliseconds. */
	| { effect: "timer"; claim: bigint; ms: number }
	| { effect: "waitTimer"; waiter: number; ms: number }
	/** The invocation fails with this error. */
	| { effect: "fail"; error: ErrorValue };

export function initialState(rules: Rules): State {
	return {
		rules,
		script: rules.script ? "running" : "none",
		scriptError: undefined,
		invocation: 1,
		closed: undefined,
		appGone: rules.app ? undefined : { code: "appExited", message: "no application runs beside the script" },
		connections: new Map(),
		rpcs: new Map(),
		reads: new Map(),
		messages: new Map(),
		transfers: new Map(),
		appMessages: new Map(),
		offers: new Map(),
		claims: new Map(),
		waits: new Map(),
		owned: new Set(),
		ownedConns: new Set(),
		expectedIds: new Set(),
		expectedCount: 0,
		history: [],
		repeated: 0,
		restarts: 0,
		divergences: 0,
		bytes: 0,
		missed: [],
		lines: [],
	};
}

/** What names a connection between the two sides: its id and where it leads, apart from the ids of messages. */
export function connKey(id: bigint, address: string): string {
	return `${id} ${placeOf(address)}`;
}

/** Whether the application does this message by itself. */
export function ownsMessage({ owned }: State, id: bigint): boolean {
	return owned.has(id) || owned.size >= MAX_OWNED;
}

/** Whether the application makes this connection by itself. */
export function ownsConn({ ownedConns }: State, key: string): boolean {
	return ownedConns.has(key) || ownedConns.size >= MAX_OWNED;
}

export function addLine(state: State, now: number, level: ScriptLine["level"], text: string): void {
	if (state.lines.length < MAX_SCRIPT_LINES) state.lines.push({ at: now, level, text });
}
