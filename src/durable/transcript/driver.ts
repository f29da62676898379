/** Drives the reducer: gives it the calls that wait, the timers' ends and all else, and does what it answers. */
import type { Op } from "../../bridge/bridge.ts";
import type { Outcome, ScriptMessage, ScriptReply } from "../../isolates/protocol.ts";
import type { Recording } from "../../shared/record.ts";
import type { Timeout } from "./host-api.ts";
import { Recorder } from "./recording.ts";
import { type Input, reduce } from "./reducer.ts";
import { type Effect, initialState, type Rules, type State } from "./state.ts";

/** Of a spare, which has neither a script nor an application. */
export const NOTHING: Rules = {
	script: false,
	app: false,
	onFailure: "fallback",
	maxRpcs: 0,
	maxConnections: 0,
	maxMessages: 0,
	maxBytes: 0,
};

/** What the reducer wants done beyond the script's own calls. */
export interface Doer {
	/** Ops for the bridge, at least one. */
	submit(ops: Op[]): void;
	/** The run as a whole has failed. */
	fail(error: Extract<Effect, { effect: "fail" }>["error"]): void;
}

export class Driver {
	readonly state: State;
	readonly #doer: Doer;
	readonly #recorder: Recorder | undefined;
	/** The script's calls that wait, by what they wait for. */
	readonly #waiters = {
		reply: new Map<number, (outcome: Outcome<ScriptReply>) => void>(),
		message: new Map<number, (outcome: Outcome<ScriptMessage>) => void>(),
		conn: new Map<number, (outcome: Outcome<true>) => void>(),
	};
	readonly #timers = new Set<ReturnType<typeof setTimeout>>();
	#nextWaiter = 0;

	/** @param record whether all inputs are recorded, for tests */
	constructor(rules: Rules, record: boolean, doer: Doer) {
		this.state = initialState(rules);
		this.#doer = doer;
		this.#recorder = record ? new Recorder(rules) : undefined;
	}

	get recording(): Recording | undefined {
		return this.#recorder?.recording;
	}

	receive(rpc: bigint, timeout: Timeout): Promise<Outcome<ScriptReply>> {
		return this.#wait(this.#waiters.reply, (waiter, now) => ({
			input: "receive",
			now,
			waiter,
			rpc,
			...timeout,
		}));
	}

	recvMsg(id: bigint, timeout: Timeout): Promise<Outcome<ScriptMessage>> {
		return this.#wait(this.#waiters.message, (waiter, now) => ({
			input: "recvMsg",
			now,
			waiter,
			id,
			...timeout,
		}));
	}

	getConn(id: bigint, address: string, conn: number, timeout: Timeout): Promise<Outcome<true>> {
		return this.#wait(this.#waiters.conn, (waiter, now) => ({
			input: "getConn",
			now,
			waiter,
			id,
			address,
			conn,
			...timeout,
		}));
	}

	apply(input: Input): void {
		const ops = this.decide(input);
		if (ops.length > 0) this.#doer.submit(ops);
	}

	/** Does all effects but the ops for the bridge, which it gives. */
	decide(input: Input): Op[] {
		const ops: Op[] = [];
		const effects = reduce(this.state, input);
		this.#recorder?.step(input, effects);
		for (const it of effects) {
			switch (it.effect) {
				case "submit":
					ops.push(it.op);
					break;
				case "reply":
					settle(this.#waiters.reply, it);
					break;
				case "message":
					settle(this.#waiters.message, it);
					break;
				case "conn":
					settle(this.#waiters.conn, it);
					break;
				case "timer":
					this.#later(it.ms, () => ({ input: "timer", now: Date.now(), claim: it.claim }));
					break;
				case "waitTimer":
					this.#later(it.ms, () => ({ input: "waitTimer", now: Date.now(), waiter: it.waiter }));
					break;
				case "fail":
					this.#doer.fail(it.error);
					break;
			}
		}
		return ops;
	}

	/** No timer ends from now on. */
	stop(): void {
		for (const timer of this.#timers) clearTimeout(timer);
		this.#timers.clear();
	}

	#wait<T>(
		waiters: Map<number, (outcome: Outcome<T>) => void>,
		input: (waiter: number, now: number) => Input,
	): Promise<Outcome<T>> {
		const waiter = this.#nextWaiter++;
		return new Promise((resolve) => {
			waiters.set(waiter, resolve);
			this.apply(input(waiter, Date.now()));
		});
	}

	/** An input that comes after so many milliseconds. */
	#later(ms: number, input: () => Input): void {
		const timer = setTimeout(() => {
			this.#timers.delete(timer);
			this.apply(input());
		}, ms);
		this.#timers.add(timer);
	}
}

function settle<T>(
	waiters: Map<number, (outcome: Outcome<T>) => void>,
	{ waiter, outcome }: { waiter: number; outcome: Outcome<T> },
): void {
	waiters.get(waiter)?.(outcome);
	waiters.delete(waiter);
}
