/**
 * Calls on their way to the host, in order. They are gathered and leave in one batch when the script waits, when it ends
 * (then with its {@link ScriptExit}), or when the batch is large.
 */
import type { HostApi, ScriptOp } from "../protocol.ts";
import { limits } from "./limits.ts";
import { checkUse, opBytes } from "./ops.ts";

export class Outbox {
	readonly #host: Pick<HostApi, "submit">;
	#queue: ScriptOp[] = [];
	#queueBytes = 0;
	#ops = 0;
	#bytes = 0;
	/** The submitted batches that the host has not taken yet. */
	readonly #inFlight = new Set<Promise<void>>();

	constructor(host: Pick<HostApi, "submit">) {
		this.#host = host;
	}

	/** Whether no call waits here. */
	get empty(): boolean {
		return this.#queue.length === 0;
	}

	/** Adds a call. Throws {@link LimitReached} when the script has made too many. */
	push(op: ScriptOp): void {
		const bytes = opBytes(op);
		this.#ops += 1;
		this.#bytes += bytes;
		checkUse(this.#ops, this.#bytes);
		if (this.#queueBytes + bytes > limits.batchBytes) this.flush();
		this.#queue.push(op);
		this.#queueBytes += bytes;
		if (this.#queue.length >= limits.batchOps) this.flush();
	}

	/** Submits what has gathered. Does not wait; {@link settle} tells of a failure. */
	flush(): void {
		if (this.#queue.length === 0) return;
		const sent: Promise<void> = this.#host.submit(this.#take());
		this.#inFlight.add(sent);
		sent.then(
			() => this.#inFlight.delete(sent),
			() => {}, // stays, so that settle() rejects
		);
	}

	/**
	 * The calls to give back with the script's end. Those must not overtake a batch that is still under way: then they are
	 * submitted behind it, and all is waited for. Rejects when the host did not take a batch.
	 */
	async settle(): Promise<ScriptOp[]> {
		if (this.#inFlight.size === 0) return this.#take();
		this.flush();
		await Promise.all(this.#inFlight);
		return [];
	}

	/** The calls that have not been submitted, at once. */
	#take(): ScriptOp[] {
		const ops = this.#queue;
		this.#queue = [];
		this.#queueBytes = 0;
		return ops;
	}
}
