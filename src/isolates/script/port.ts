/**
 * A script's host, with the runner's bounds before it: how much a script may say, and how many calls may be made and
 * be in flight. A script's own isolate is given this object instead of the host's; after the run it answers nothing.
 */
import { RpcTarget } from "cloudflare:workers";
import { Pace } from "../../shared/pace.ts";
import type { HostApi, Id, Outcome, ScriptMessage, ScriptOp, ScriptReply } from "../protocol.ts";
import { LimitReached } from "./failure.ts";
import { limits } from "./limits.ts";
import { address, checkUse, cleanOp, id, opBytes, timeout, u32 } from "./ops.ts";
import { Slots } from "./slots.ts";

/** Of all scripts of this runner. */
const runnerSlots = new Slots(limits.runnerCalls);
const runnerPace = new Pace(limits.runnerRate);

/** Calls at once, or when it is its turn. */
function paced<T>(call: () => Promise<T>): Promise<T> {
	const wait = runnerPace.count(1);
	return wait === 0 ? call() : scheduler.wait(wait).then(call);
}

export class HostPort extends RpcTarget implements HostApi {
	readonly #host: HostApi;
	readonly #slots = new Slots(limits.scriptCalls);
	readonly #expiresAt: number;
	readonly #inFlight = new Set<() => void>();
	#ops = 0;
	#bytes = 0;
	#open = true;
	#used = false;
	#breach: LimitReached | undefined;

	/** @param expiresAt when the run has certainly ended, in milliseconds of the worker's clock. */
	constructor(host: HostApi, expiresAt: number) {
		super();
		this.#host = host;
		this.#expiresAt = expiresAt;
	}

	/** Whether the run goes on. */
	get open(): boolean {
		return this.#open;
	}

	/** Nothing of the script reaches the host from now on. */
	close(): void {
		this.#open = false;
		for (const abandon of this.#inFlight) abandon();
	}

	submit(ops: ScriptOp[]): Promise<void> {
		const clean = this.clean(ops);
		return this.#pass(() => this.#host.submit(clean));
	}

	recvRpcReply(rpc: Id, timeoutMs?: number): Promise<Outcome<ScriptReply>> {
		const checked = id(rpc);
		const { timeoutMs: ms } = timeout(timeoutMs);
		return this.#pass(() => this.#host.recvRpcReply(checked, ms));
	}

	readReply(rpc: Id, offset: number, length: number): Promise<Outcome<Uint8Array>> {
		const checked = id(rpc);
		const count = Math.min(u32(length), limits.readBytes);
		const from = u32(offset);
		return this.#pass(() => this.#host.readReply(checked, from, count));
	}

	recvMsg(message: Id, timeoutMs?: number): Promise<Outcome<ScriptMessage>> {
		const checked = id(message);
		const { timeoutMs: ms } = timeout(timeoutMs);
		return this.#pass(() => this.#host.recvMsg(checked, ms));
	}

	readMsg(message: Id, offset: number, length: number): Promise<Outcome<Uint8Array>> {
		const checked = id(message);
		const count = Math.min(u32(length), limits.readBytes);
		const from = u32(offset);
		return this.#pass(() => this.#host.readMsg(checked, from, count));
	}

	getConn(message: Id, at: string, conn: number, timeoutMs?: number): Promise<Outcome<true>> {
		const checked = id(message);
		const [place, number] = [address(at), u32(conn)];
		const { timeoutMs: ms } = timeout(timeoutMs);
		return this.#pass(() => this.#host.getConn(checked, place, number, ms));
	}

	/** Whether the script has called its host. */
	get used(): boolean {
		return this.#used;
	}

	/** Which bound the script went over, if it did. */
	get breach(): LimitReached | undefined {
		return this.#breach;
	}

	/** Checks calls and counts them against the script's bounds. */
	clean(ops: unknown): ScriptOp[] {
		if (!Array.isArray(ops)) throw new TypeError("calls come as a list");
		this.#ops += ops.length;
		this.#check(0);
		const clean = ops.map(cleanOp);
		const bytes = clean.reduce((sum, op) => sum + opBytes(op), 0);
		this.#bytes += bytes;
		this.#check(bytes);
		return clean;
	}

	#check(batchBytes: number): void {
		try {
			checkUse(this.#ops, this.#bytes, batchBytes);
		} catch (thrown) {
			if (thrown instanceof LimitReached) this.#breach = thrown;
			throw thrown;
		}
	}

	/** The call is made at once when there is room for it, so that calls keep their order. */
	#pass<T>(call: () => Promise<T>): Promise<T> {
		this.#used = true;
		const passed = this.#slots.use(() =>
			runnerSlots.use(() => this.#whileOpen(() => paced(call)), this.#expiresAt),
		);
		return passed.catch((thrown: unknown) => {
			if (thrown instanceof Closed) return new Promise<T>(() => {});
			throw thrown;
		});
	}

	/** A call's outcome, or Closed as soon as the port is: what holds a slot must end. */
	#whileOpen<T>(call: () => Promise<T>): Promise<T> {
		if (!this.#open) return Promise.reject(new Closed());
		return new Promise<T>((resolve, reject) => {
			const abandon = (): void => reject(new Closed());
			this.#inFlight.add(abandon);
			call()
				.then(resolve, reject)
				.finally(() => this.#inFlight.delete(abandon));
		});
	}
}

/** The script's run is over; nobody waits for this call any more. */
class Closed extends Error {}
