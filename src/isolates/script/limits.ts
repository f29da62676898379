/** Bounds on what one initscript may ask for. The relay's own bounds (2 MiB a message) lie above these. */
export const limits = {
	/** Calls of one script. */
	ops: 10_000,
	/** Bytes of one RPC's request or of one message. */
	requestBytes: 1 << 20,
	/** Bytes of all calls of one script. */
	totalBytes: 64 << 20,
	/** UTF-8 bytes of an address. */
	addressBytes: 4 << 10,
	/** Characters of a log line; the rest is cut off. */
	logCharacters: 8 << 10,
	/** A batch is submitted when it reaches this many calls or bytes. */
	batchOps: 512,
	batchBytes: 512 << 10,
	/** Bytes of one `readReply` call to the host. */
	readBytes: 1 << 20,
	/** Inlined reply bodies that one script keeps. */
	cachedBytes: 4 << 20,
	/** Calls to the host that one script may have in flight; the rest wait in the runner. */
	scriptCalls: 32,
	/** The same of all scripts of a runner together (the relay allows 256). */
	runnerCalls: 192,
	/** Calls to the host of all scripts of a runner (the relay allows 20,000 messages a second, a call takes 2 or 3). */
	runnerRate: { perSecond: 5_000, burst: 1_000 },
	/** Characters of an error's message and of a stack. */
	messageCharacters: 1 << 10,
	stackCharacters: 8 << 10,
} as const;
