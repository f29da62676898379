import { RpcTarget } from "cloudflare:workers";
import type { HostApi, Outcome, ScriptOp, ScriptReply } from "../../isolates/protocol.ts";
import { parseId, parseOps, parseU32 } from "./validate.ts";

/** What a script's calls reach. */
export interface ScriptPort {
	ops(ops: ScriptOp[]): void;
	receive(rpc: bigint): Promise<Outcome<ScriptReply>>;
	read(rpc: bigint, offset: number, length: number): Promise<Outcome<Uint8Array>>;
}

/** How many reads of replies may be under way. */
const MAX_READS = 64;

/** The host API of one run. The runner is not trusted: see validate.ts. */
export class ScriptHost extends RpcTarget implements HostApi {
	#port: ScriptPort | undefined;
	#reads = 0;

	constructor(port: ScriptPort) {
		super();
		this.#port = port;
	}

	/** From now on calls fail: the run is over. */
	close(): void {
		this.#port = undefined;
	}

	async submit(ops: ScriptOp[]): Promise<void> {
		this.#port?.ops(parseOps(ops));
	}

	async recvRpcReply(rpc: bigint): Promise<Outcome<ScriptReply>> {
		return this.#port?.receive(parseId(rpc)) ?? OVER;
	}

	async readReply(rpc: bigint, offset: number, length: number): Promise<Outcome<Uint8Array>> {
		if (this.#port === undefined) return OVER;
		if (this.#reads >= MAX_READS) {
			return { error: { code: "tooMany", message: `more than ${MAX_READS} reads at once` } };
		}
		this.#reads += 1;
		try {
			return await this.#port.read(parseId(rpc), parseU32(offset), parseU32(length));
		} finally {
			this.#reads -= 1;
		}
	}
}

const OVER = { error: { code: "instanceClosed", message: "the script's run is over" } };
