/** What the judge has heard: the books that it keeps beside the reducer's state, and the violations that it has found. */
import type { Outcome } from "../../../isolates/protocol.ts";
import type { Rules } from "../state.ts";

export interface Violation {
	rule: 1 | 2 | 3 | 4 | 5 | 6 | 7;
	what: string;
}

type Phase = "sent" | "failed" | "served" | "voided";

export interface Sent {
	phase: Phase;
	/** Bytes of the script's own. */
	bytes?: number;
	rpc?: bigint;
	error?: string;
}

export interface Dispatched {
	/** "GET s3://bucket/key", once the bridge has accepted it. */
	content?: string;
	done?: Outcome<{ status: number; length: number }>;
	/** The application has written to what it reads. */
	outdated?: true;
}

export interface OpenClaim {
	id: bigint;
	connection: boolean;
	key: string;
	deadline: number;
	diverges: boolean;
	/** Since when no announcement covers it. */
	uncoveredSince: number;
	covered: boolean;
}

export interface OpenWait {
	for: "reply" | "message" | "conn";
	key: string;
	deadline: number;
}

export class Book {
	readonly violations: Violation[] = [];
	readonly rules: Rules;
	/** How late a timer may come, milliseconds. */
	readonly slack: number;
	readonly connections = new Map<number, "script" | "application">();
	readonly rpcs = new Map<string, Dispatched>();
	/** By the id of a message, or by {@link connKey}: they do not look alike. */
	readonly sent = new Map<string, Sent>();
	readonly refused = new Set<string>();
	/** The application's: whether the script has it, or nobody may have it any more. */
	readonly offers = new Map<string, "open" | "adopted" | "withdrawn">();
	readonly appMessages = new Map<string, { length: number; received: boolean }>();
	readonly claims = new Map<bigint, OpenClaim>();
	readonly waits = new Map<number, OpenWait>();
	readonly owned = new Set<string>();
	readonly announced = new Set<string>();
	announcedCount = 0;
	script: "none" | "running" | "ended";
	ends = 0;
	failures = 0;
	appGone: string | undefined;
	invocation = 1;
	taken = 1;
	closed = false;
	/** How many calls the script has made, and how many of them it has still to repeat after a restart. */
	calls = 0;
	repeated = 0;

	constructor(rules: Rules, slackMs: number) {
		this.rules = rules;
		this.slack = slackMs;
		this.script = rules.script ? "running" : "none";
		this.appGone = rules.app ? undefined : "appExited";
	}

	broken(rule: Violation["rule"], what: string): void {
		this.violations.push({ rule, what });
	}
}

/** The open claims of what the script has announced: by its id, or by number, which the oldest of them have. */
export function announcedClaims(book: Book): Set<bigint> {
	const all = new Set<bigint>();
	const counted = new Set<string>();
	for (const [number, it] of book.claims) {
		if (book.sent.has(it.key)) continue;
		const byId = !it.connection && book.announced.has(it.key);
		if (!byId && !counted.has(it.key)) {
			if (counted.size >= book.announcedCount) continue;
			counted.add(it.key);
		}
		all.add(number);
	}
	return all;
}
