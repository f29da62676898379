/**
 * What a runner and the host say to each other, over JS RPC through the bridge's relay.
 *
 * The host calls {@link RunnerService}; a running initscript reaches its transcript through {@link HostApi}. Nothing here
 * is trusted by the host: a compromised runner may send any value of any shape.
 */

/** The id of an RPC or a message: an unsigned 64-bit number (text ids are hashed by the shim). */
export type Id = bigint;

/** One call of the initscript API that needs no answer. Calls travel in order, in batches. */
export type ScriptOp =
	| { op: "connect"; conn: number; address: string }
	| { op: "sendRpc"; conn: number; rpc: Id; request: Uint8Array; timeoutMs?: number; to?: ReplyPlace }
	| { op: "sendMsg"; id: Id; data: Uint8Array }
	| { op: "sendReply"; id: Id; rpc: Id }
	| { op: "transferConn"; id: Id; address: string; conn: number }
	| { op: "expect"; count: number }
	| { op: "expectMsg"; id: Id }
	| { op: "log"; level: "debug" | "info" | "warn" | "error"; text: string };

/**
 * Where a reply's body is received: in a file of the application's ("file:/path"), from `offset`, at most `room` bytes; 0: up
 * to the file's end.
 */
export interface ReplyPlace {
	place: string;
	offset: number;
	room: number;
}

/** A complete reply as an initscript sees it. `body` is there when it is at most 16 KiB. */
export interface ScriptReply {
	status: number;
	length: number;
	body?: Uint8Array;
}

/** A message of the application's. `body` is there when it is at most 16 KiB. */
export interface ScriptMessage {
	length: number;
	body?: Uint8Array;
}

/** A failure of an initscript call, by its ErrorCode's name (schema/errors.capnp). */
export interface ScriptError {
	code: string;
	message: string;
}

export type Outcome<T> = { ok: T } | { error: ScriptError };

/**
 * What one initscript can ask of the host: its instance's transcript, and nothing else. What waits ends with `deadline`
 * after `timeoutMs`, where that is given, and with the script in any case.
 */
export interface HostApi {
	/** Applies calls in order. Never rejects for a call's own failure: that shows at its reply or message. */
	submit(ops: ScriptOp[]): Promise<void>;
	/** Waits until the reply of `rpc` is complete. */
	recvRpcReply(rpc: Id, timeoutMs?: number): Promise<Outcome<ScriptReply>>;
	/** At most 1 MiB of a complete reply's body, from `offset`. */
	readReply(rpc: Id, offset: number, length: number): Promise<Outcome<Uint8Array>>;
	/** Waits for a message of the application's, which is received once. */
	recvMsg(id: Id, timeoutMs?: number): Promise<Outcome<ScriptMessage>>;
	/** At most 1 MiB of a received message, from `offset`. */
	readMsg(id: Id, offset: number, length: number): Promise<Outcome<Uint8Array>>;
	/** Waits for a connection that the application hands over; from then on it is the script's connection `conn`. */
	getConn(id: Id, address: string, conn: number, timeoutMs?: number): Promise<Outcome<true>>;
}

/**
 * An initscript as it was deployed. `digest` is the hex SHA-256 of its bytes. A WASM module is metered, or `plain`: then the
 * runner meters it, because it is the tenant's own, and the host's one thread is everybody's.
 */
export type ScriptModule =
	| { digest: string; format: "wasm"; bytes: Uint8Array; plain?: true }
	| { digest: string; format: "js"; source: string };

/**
 * `PUT` there by the bridge hands a module over whose digest it has verified: its bytes, metered or plain, or a bundle's source. 204: the
 * runner has it now. (native-bridge/runner/src/hand_over.rs)
 */
export const SCRIPT_PATH = /^\/scripts\/(metered|plain|js)\/([0-9a-f]{64})$/;

export interface ScriptLimits {
	/** Wall clock, milliseconds. */
	deadlineMs: number;
	/** Bytes of the module's linear memory. */
	memoryBytes: number;
	/** CPU time, by the fuel of a metered module: milliseconds of 4 million instructions. */
	cpuMs: number;
}

/** How a script ended. `ops` are the calls that had not been submitted yet: they are applied before the end. */
export type ScriptExit = {
	ops: ScriptOp[];
} & (
	| { end: "exit"; status: number }
	| { end: "trap" | "limit" | "deadline"; error: ScriptError; stack?: string }
);

/** What runs scripts. */
export interface ScriptRunner {
	/**
	 * Runs a loaded module to its end; `unknownModule` when it is not loaded (the runner was replaced): load, then run again.
	 * `awaited`: where it is not loaded, it is about to be, by the bridge ({@link SCRIPT_PATH}) or by `load`; the run waits for it as
	 * long as its deadline is, or until `unload` says that it does not come.
	 */
	run(
		spec: { digest: string; input: Uint8Array; limits: ScriptLimits; awaited?: boolean },
		host: HostApi,
	): Promise<Outcome<ScriptExit>>;
}

/** Ready to run a script. */
export type RunnerSession = ScriptRunner & Disposable;

/** The runner's entrypoint. */
export interface RunnerService extends ScriptRunner {
	/**
	 * Keeps a module compiled. Idempotent. `invalidArgument` for a module that cannot run, or not in `memoryBytes` of memory
	 * where that is given.
	 */
	load(module: ScriptModule, memoryBytes?: number): Promise<Outcome<{ compileMs: number }>>;
	/** Forgets a module, also one that is awaited. */
	unload(digest: string): Promise<void>;
	/** A session for the next run, which then need not wait until one is made. The runner keeps it as long as the host does. */
	open(): Promise<RunnerSession>;
}
