/**
 * A run's inputs and what the reducer answered, as JSON: enough to replay the run through the reducer and to judge it by
 * the rules. Bytes are kept as their length and a fingerprint.
 */

import { fingerprint } from "../../shared/fingerprint.ts";
import type { Recording, Unclaimed } from "../../shared/record.ts";
import { unclaimed } from "./record.ts";
import { type Input, reduce } from "./reducer.ts";
import { RuleBook } from "./rules.ts";
import { type Effect, initialState, type Rules } from "./state.ts";

/** How many steps are kept. */
const MAX_STEPS = 5000;

/** How late a timer may come on a busy machine, milliseconds. */
const SLACK_MS = 2000;

type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

/** Records while the run goes on; what takes time is left for later. */
export class Recorder {
	readonly #rules: Rules;
	readonly #steps: { input: Input; effects: readonly Effect[] }[] = [];
	#dropped = 0;

	constructor(rules: Rules) {
		this.#rules = rules;
	}

	step(input: Input, effects: readonly Effect[]): void {
		if (this.#steps.length < MAX_STEPS) this.#steps.push({ input, effects });
		else this.#dropped += 1;
	}

	get recording(): Recording {
		return {
			rules: { ...this.#rules },
			steps: this.#steps.map(({ input, effects }) => ({
				input: JSON.stringify(encode(input)),
				effects: effects.map(inShort),
			})),
			dropped: this.#dropped,
		};
	}
}

/**
 * Replays a recording. Says where the reducer did otherwise, which rules the run broke, and what of its waste the record
 * does not have; nothing when all is well.
 */
export function check(recording: Recording, waste?: readonly Unclaimed[]): string[] {
	const { steps, dropped } = recording;
	const rules = recording.rules as unknown as Rules;
	const state = initialState(rules);
	const book = new RuleBook(rules, SLACK_MS);
	const found: string[] = [];
	for (const [number, step] of steps.entries()) {
		const input = decode(JSON.parse(step.input)) as Input;
		const effects = reduce(state, input);
		book.step(input, effects);
		const replayed = effects.map(inShort).join(", ");
		const recorded = step.effects.join(", ");
		if (replayed !== recorded)
			found.push(`step ${number} (${input.input}): recorded ${recorded}; replayed ${replayed}`);
	}
	if (waste !== undefined && dropped === 0) found.push(...checkWaste(waste, unclaimed(state), book.waste));
	return [...found, ...book.violations.map(({ rule, what }) => `rule ${rule}: ${what}`)];
}

/** What nobody claimed is shown (rule 6): as the replay finds it, and at least what the rules' own books have. */
function checkWaste(
	recorded: readonly Unclaimed[],
	replayed: readonly Unclaimed[],
	booked: string[],
): string[] {
	const names = (of: readonly Unclaimed[]): string =>
		of.map(({ id, content }) => `${id} ${content}`).join(", ");
	const found: string[] = [];
	if (names(recorded) !== names(replayed))
		found.push(`waste: recorded ${names(recorded)}; replayed ${names(replayed)}`);
	const ids = new Set(recorded.map(({ id }) => id));
	for (const key of booked) {
		const [id = ""] = key.split(" ");
		if (!ids.has(id)) found.push(`rule 6: ${key} was not claimed, and the record does not show it`);
	}
	return found;
}

/** An effect in a few words. */
function inShort(it: Effect): string {
	switch (it.effect) {
		case "submit": {
			const { op } = it;
			switch (op.which) {
				case "connect":
					return `connect ${op.connect.conn}`;
				case "send":
					return `send ${op.send.rpc} on ${op.send.conn}`;
				case "message":
					return `message ${op.message.id} ${op.message.which}`;
				case "decide":
					return `decide ${op.decide.claim} ${op.decide.error.code}`;
				case "void":
					return `void ${op.void}`;
				case "transfer":
					return `transfer ${op.transfer.conn} as ${op.transfer.id} ${op.transfer.address}`;
				case "adopt":
					return `adopt ${op.adopt.id} ${op.adopt.address} as ${op.adopt.conn}`;
				case "withdraw": {
					const { id, address, ofApp } = op.withdraw;
					return `withdraw ${ofApp ? "gift" : "offer"} ${id} ${address}`;
				}
				default:
					return op.which;
			}
		}
		case "timer":
			return `timer ${it.claim} ${it.ms}`;
		case "waitTimer":
			return `waitTimer ${it.waiter} ${it.ms}`;
		case "fail":
			return `fail ${it.error.code}`;
		default:
			return `${it.effect} ${it.waiter} ${"ok" in it.outcome ? "ok" : it.outcome.error.code}`;
	}
}

/** Numbers of 64 bits as `{ n }`, bytes as `{ bytes, mark }`. */
function encode(value: unknown): Json {
	if (typeof value === "bigint") return { n: String(value) };
	if (value instanceof Uint8Array) return { bytes: value.length, mark: fingerprint(value) };
	if (Array.isArray(value)) return value.map(encode);
	if (typeof value === "object" && value !== null) {
		const entries = Object.entries(value).filter(([, it]) => it !== undefined);
		return Object.fromEntries(entries.map(([key, it]) => [key, encode(it)]));
	}
	return typeof value === "string" || typeof value === "number" || typeof value === "boolean" ? value : null;
}

function decode(value: Json): unknown {
	if (Array.isArray(value)) return value.map(decode);
	if (typeof value !== "object" || value === null) return value;
	const { n, bytes, mark } = value;
	if (typeof n === "string") return BigInt(n);
	if (typeof bytes === "number" && typeof mark === "string") return standIn(bytes, mark);
	return Object.fromEntries(Object.entries(value).map(([key, it]) => [key, decode(it)]));
}

/** Bytes of the same length, and different ones for different marks. */
function standIn(length: number, mark: string): Uint8Array {
	const bytes = new Uint8Array(length);
	bytes.set(new TextEncoder().encode(mark.split(":")[1] ?? "").subarray(0, length));
	return bytes;
}
