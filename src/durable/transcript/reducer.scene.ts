/** What the reducer's tests play with. */
import type { Event, Op } from "../../bridge/bridge.ts";
import type { ScriptOp } from "../../isolates/protocol.ts";
import { type Input, reduce } from "./reducer.ts";
import { type Effect, initialState, type Rules, type State } from "./state.ts";

const rules: Rules = {
	script: true,
	app: true,
	onFailure: "fallback",
	maxRpcs: 8,
	maxConnections: 2,
	maxMessages: 8,
	maxBytes: 1 << 20,
};
export const request = new TextEncoder().encode("GET key\n\n");

/** An event without what the bridge stamps on it. */
export type Facts = Event extends infer E ? (E extends Event ? Omit<E, "seq" | "at"> : never) : never;

/** A transcript on which tests act, with a clock of their own. */
export class Scene {
	readonly state: State;
	now = 1000;

	constructor(changed: Partial<Rules> = {}) {
		this.state = initialState({ ...rules, ...changed });
	}

	ops(...ops: ScriptOp[]): Effect[] {
		return this.step({ input: "ops", now: this.now, ops });
	}

	event(event: Facts): Effect[] {
		return this.step({ input: "event", now: this.now, event: { seq: 1n, at: 0n, ...event } as Event });
	}

	claim(claim: bigint, id: bigint, content = "GET s3://b/k", diverges = ""): Effect[] {
		return this.event({
			which: "claimed",
			claimed: { claim, id, content, diverges, deadlineMillis: 1000, connection: false },
		});
	}

	exit(error?: { code: "initscriptTrapped"; message: string }): Effect[] {
		return this.step({ input: "exit", now: this.now, ...(error && { error }) });
	}

	timer(claim: bigint, after: number): Effect[] {
		this.now += after;
		return this.step({ input: "timer", now: this.now, claim });
	}

	step(input: Input): Effect[] {
		return reduce(this.state, input);
	}
}

export function submitted(effects: Effect[]): Op[] {
	return effects.flatMap((it) => (it.effect === "submit" ? [it.op] : []));
}

export function decisions(effects: Effect[]): string[] {
	return submitted(effects).flatMap((op) =>
		op.which === "decide" ? [`${op.decide.claim} ${op.decide.error.code}`] : [],
	);
}

/** A connection and an RPC on it. */
export const send: ScriptOp[] = [
	{ op: "connect", conn: 1, address: "s3://b" },
	{ op: "sendRpc", conn: 1, rpc: 7n, request },
];
