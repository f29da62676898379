import { RpcTarget } from "cloudflare:workers";
import type { HostApi, Outcome, ScriptMessage, ScriptOp, ScriptReply } from "../../isolates/protocol.ts";
import type { Turn } from "./turns.ts";
import { parseAddress, parseId, parseOps, parseTimeout, parseU32 } from "./validate.ts";

/** What a script's calls reach. */
export interface ScriptPort {
	ops(ops: ScriptOp[]): void;
	receive(rpc: bigint, timeout: Timeout): Promise<Outcome<ScriptReply>>;
	read(rpc: bigint, offset: number, length: number): Promise<Outcome<Uint8Array>>;
	recvMsg(id: bigint, timeout: Timeout): Promise<Outcome<ScriptMessage>>;
	readMsg(id: bigint, offset: number, length: number): Promise<Outcome<Uint8Array>>;
	getConn(id: bigint, address: string, conn: number, timeout: Timeout): Promise<Outcome<true>>;
}

/** The longest that a call may take, where it says so. */
export interface Timeout {
	timeoutMs?: number;
}

/** How many reads of replies and messages may be under way. */
const MAX_READS = 64;

/** The host API of one run. The runner is not trusted: see validate.ts. */
export class ScriptHost extends RpcTarget implements HostApi {
	#port: ScriptPort | undefined;
	readonly #turn: Turn | undefined;
	#reads = 0;
	#used = false;

	/** @param turn is told when the script waits. */
	constructor(port: ScriptPort, turn?: Turn) {
		super();
		this.#port = port;
		this.#turn = turn;
	}

	/** Whether the script has called it. */
	get used(): boolean {
		return this.#used;
	}

	/** From now on calls fail: the run is over. */
	close(): void {
		this.#port = undefined;
	}

	async submit(ops: ScriptOp[]): Promise<void> {
		this.#used = true;
		this.#port?.ops(parseOps(ops));
	}

	async recvRpcReply(rpc: bigint, timeoutMs?: number): Promise<Outcome<ScriptReply>> {
		return this.#wait((port) => port.receive(parseId(rpc), parseTimeout(timeoutMs)));
	}

	readReply(rpc: bigint, offset: number, length: number): Promise<Outcome<Uint8Array>> {
		return this.#read((port) => port.read(parseId(rpc), parseU32(offset), parseU32(length)));
	}

	async recvMsg(id: bigint, timeoutMs?: number): Promise<Outcome<ScriptMessage>> {
		return this.#wait((port) => port.recvMsg(parseId(id), parseTimeout(timeoutMs)));
	}

	readMsg(id: bigint, offset: number, length: number): Promise<Outcome<Uint8Array>> {
		return this.#read((port) => port.readMsg(parseId(id), parseU32(offset), parseU32(length)));
	}

	async getConn(id: bigint, address: string, conn: number, timeoutMs?: number): Promise<Outcome<true>> {
		const [key, place, number] = [parseId(id), parseAddress(address), parseU32(conn)];
		return this.#wait((port) => port.getConn(key, place, number, parseTimeout(timeoutMs)));
	}

	async #wait<T>(wait: (port: ScriptPort) => Promise<Outcome<T>>): Promise<Outcome<T>> {
		this.#used = true;
		if (this.#port === undefined) return OVER;
		const outcome = wait(this.#port);
		return this.#turn === undefined ? outcome : this.#turn.during(outcome);
	}

	async #read(read: (port: ScriptPort) => Promise<Outcome<Uint8Array>>): Promise<Outcome<Uint8Array>> {
		this.#used = true;
		if (this.#port === undefined) return OVER;
		if (this.#reads >= MAX_READS) {
			return { error: { code: "tooMany", message: `more than ${MAX_READS} reads at once` } };
		}
		this.#reads += 1;
		try {
			return await read(this.#port);
		} finally {
			this.#reads -= 1;
		}
	}
}

const OVER = { error: { code: "instanceClosed", message: "the script's run is over" } };
