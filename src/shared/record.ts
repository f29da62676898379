/** What the HTTP API tells of an instance: `GET /v1/instances/:id`. */
import type { ErrorValue } from "./error.ts";

/**
 * One stamped edge of an instance's life. `at`: nanoseconds of the node's CLOCK_MONOTONIC, whole. The other fields are
 * there for the kinds that have them (schema/bridge.capnp, struct Event).
 */
export interface TraceEvent {
	at: number;
	kind: string;
	/** The RPC or the message that it is about, in decimal; of an invocation its number. */
	id?: string;
	/** "GET s3://bucket/key". */
	content?: string;
	/** The content that was published under a claim's id, when it is another. */
	diverges?: string;
	text?: string;
	bytes?: number;
	/** Bytes that went the other way, of a connection. */
	sent?: number;
	/** The HTTP status of a reply; the exit status of the sandbox. */
	status?: number;
	/** How long the application waited for it, how long a call took, or how long ago a shared reply was asked for, ns. */
	nanos?: number;
	/** Whether an RPC found its connection open. */
	reused?: boolean;
	/** How often the request was sent. */
	attempts?: number;
	/** "file:/path" of a reply that was received in a file of the application's, from byte `offset` on. */
	place?: string;
	offset?: number;
	error?: ErrorValue;
}

/** `serving`: of a service, from its start on. */
export type InstanceState = "running" | "serving" | "warm" | "ended" | "failed" | "interrupted";

/** What was fetched, sent or handed over by one side, and never claimed by the other. `content` of a connection: its address. */
export interface Unclaimed {
	id: string;
	content: string;
	bytes: number;
}

/** What the application asked for in vain. */
export interface Missed {
	id: string;
	content: string;
	/** `miss`, `diverged`, `deadline`, … */
	code: string;
	/** What the initscript did send that is most like it. */
	nearest?: string;
}

/** A line that the initscript logged, or something that it did wrong. `at`: Unix milliseconds. */
export interface ScriptLine {
	at: number;
	level: "debug" | "info" | "warn" | "error";
	text: string;
}

export interface InstanceSummary {
	id: string;
	function: string;
	digest: string;
	/** "normal", "noInitscript", "initscriptOnly", "direct". */
	mode: string;
	state: InstanceState;
	/** Unix milliseconds. */
	startedAt: number;
	endedAt?: number;
	invocations: number;
	/** Why it failed. */
	error?: ErrorValue;
}

export interface InstanceRecord extends InstanceSummary {
	/**
	 * How the initscript ended: "exit 0", "trap", "limit", "deadline", or the code of what kept it from its end. Absent
	 * while it runs, and where there is none.
	 */
	script?: { end: string; error?: ErrorValue; stack?: string };
	events: TraceEvent[];
	scriptLines: ScriptLine[];
	unclaimed: Unclaimed[];
	missed: Missed[];
	divergences: number;
	/** All inputs of the transcript, where the node records them. */
	recording?: Recording;
}

/** All that a transcript decided on, and what it decided, in short (src/durable/transcript/recording.ts). */
export interface Recording {
	rules: { [name: string]: boolean | number | string };
	/** `input`: JSON. */
	steps: { input: string; effects: string[] }[];
	/** How many steps there were beyond those. */
	dropped: number;
}

/** The answer to `?only=initscript`. */
export interface ScriptRun {
	instance: string;
	end: string;
	error?: ErrorValue;
	rpcs: number;
	messages: number;
	bytes: number;
	events: TraceEvent[];
}
