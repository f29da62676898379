/**
 * One stamped edge of an instance's life, as the HTTP API gives it. `at`: nanoseconds of the node's CLOCK_MONOTONIC. The
 * other fields are there for the kinds that have them (schema/bridge.capnp, struct Event).
 */
export interface TraceEvent {
	at: number;
	kind: string;
	/** The RPC or the message that it is about. */
	id?: string;
	/** "GET s3://bucket/key". */
	content?: string;
	/** The content that was published under a claim's id, when it is another. */
	diverges?: string;
	text?: string;
	bytes?: number;
	status?: number;
	/** How long the application waited for it, or how long a call took, ns. */
	nanos?: number;
	error?: { code: string; message: string };
}

/** An instance as `headstart trace` shows it. */
export interface Trace {
	id: string;
	function: string;
	/** "normal", "noInitscript", … */
	mode: string;
	state: string;
	events: TraceEvent[];
}
