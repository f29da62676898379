/**
 * The transcript's seven rules (docs/transcript.md) as a judge of what happened: it is given each input and what the
 * reducer answered, keeps books of its own, and says what breaks which rule. It shares no code with the reducer. The
 * property tests and the replay of recorded runs (replay.ts) ask it.
 */
import type { Event, Op } from "../../bridge/generated/bridge.ts";
import type { Outcome, ScriptOp } from "../../isolates/protocol.ts";
import type { ErrorValue } from "../../shared/error.ts";
import type { Input } from "./reducer.ts";
import { CLAIM_WAIT_MS, connKey, type Effect, type Rules } from "./state.ts";

export interface Violation {
	rule: 1 | 2 | 3 | 4 | 5 | 6 | 7;
	what: string;
}

type Phase = "sent" | "failed" | "served" | "voided";

interface Sent {
	phase: Phase;
	/** Bytes of the script's own. */
	bytes?: number;
	rpc?: bigint;
	error?: string;
}

interface Dispatched {
	/** "GET s3://bucket/key", once the bridge has accepted it. */
	content?: string;
	done?: Outcome<{ status: number; length: number }>;
}

interface OpenClaim {
	id: bigint;
	connection: boolean;
	key: string;
	deadline: number;
	diverges: boolean;
	/** Since when no announcement covers it. */
	uncoveredSince: number;
	covered: boolean;
}

interface OpenWait {
	for: "reply" | "message" | "conn";
	key: string;
	deadline: number;
}

export class RuleBook {
	readonly violations: Violation[] = [];
	readonly #rules: Rules;
	/** How late a timer may come, milliseconds. */
	readonly #slack: number;
	readonly #connections = new Map<number, "script" | "application">();
	readonly #rpcs = new Map<string, Dispatched>();
	/** By the id of a message, or by {@link connKey}: they do not look alike. */
	readonly #sent = new Map<string, Sent>();
	readonly #refused = new Set<string>();
	/** The application's: whether the script has it, or nobody may have it any more. */
	readonly #offers = new Map<string, "open" | "adopted" | "withdrawn">();
	readonly #appMessages = new Map<string, { length: number; received: boolean }>();
	readonly #claims = new Map<bigint, OpenClaim>();
	readonly #waits = new Map<number, OpenWait>();
	readonly #owned = new Set<string>();
	readonly #announced = new Set<string>();
	#announcedCount = 0;
	#script: "none" | "running" | "ended";
	#ends = 0;
	#failures = 0;
	#appGone: string | undefined;
	#invocation = 1;
	#taken = 1;
	#closed = false;
	/** How many calls the script has made, and how many of them it has still to repeat after a restart. */
	#calls = 0;
	#repeated = 0;

	constructor(rules: Rules, slackMs = 0) {
		this.#rules = rules;
		this.#slack = slackMs;
		this.#script = rules.script ? "running" : "none";
		this.#appGone = rules.app ? undefined : "appExited";
	}

	/** What was sent or handed over, and never claimed: message ids and the keys of connections. */
	get waste(): string[] {
		return [...this.#sent].flatMap(([key, { phase }]) =>
			phase === "sent" || phase === "voided" ? [key] : [],
		);
	}

	step(input: Input, effects: readonly Effect[]): void {
		if (this.#closed) {
			for (const it of effects) {
				if (!isAnswer(it)) this.#broken(1, `${it.effect} after the instance's end`);
				else if (!("error" in it.outcome)) this.#broken(1, "a result after the instance's end");
			}
			return;
		}
		const running = this.#script === "running";
		this.#input(input, effects);
		for (const it of effects) this.#effect(it, input, running);
		if (input.input === "event" && input.event.which === "called") this.#wrote(input.event.called.content);
		if (input.input === "answered" || input.input === "invocation") this.#allWithdrawn();
		this.#after(input.now);
	}

	#broken(rule: Violation["rule"], what: string): void {
		this.violations.push({ rule, what });
	}

	// What happened.

	#input(input: Input, effects: readonly Effect[]): void {
		switch (input.input) {
			case "ops":
				if (this.#script === "running") this.#ops(input.ops, effects);
				break;
			case "receive":
				this.#waits.set(input.waiter, openWait("reply", String(input.rpc), input));
				break;
			case "recvMsg":
				this.#waits.set(input.waiter, openWait("message", String(input.id), input));
				break;
			case "getConn":
				this.#waits.set(input.waiter, openWait("conn", connKey(input.id, input.address), input));
				break;
			case "restart":
				this.#repeated = 0;
				for (const message of this.#appMessages.values()) message.received = false;
				break;
			case "event":
				this.#event(input.now, input.event);
				break;
			case "invocation":
				this.#invocation += 1;
				break;
			case "close":
				this.#closed = true;
				break;
			default:
		}
	}

	/** Announcements, and messages that carry nothing that was sent. */
	#ops(ops: readonly ScriptOp[], effects: readonly Effect[]): void {
		const published = new Set<string>();
		for (const it of effects) {
			if (it.effect !== "submit") continue;
			if (it.op.which === "message") published.add(String(it.op.message.id));
			if (it.op.which === "transfer") published.add(connKey(it.op.transfer.id, it.op.transfer.address));
		}
		const { maxMessages, maxConnections } = this.#rules;
		const use = (key: string): void => {
			if (!this.#announced.delete(key) && this.#announcedCount > 0) this.#announcedCount -= 1;
		};
		const messages = new Set([...this.#sent.keys()].filter((key) => !key.includes(" ")));
		const dispatched = new Set(this.#rpcs.keys());
		for (const op of ops) {
			if (op.op === "log") continue;
			if (this.#repeated < this.#calls) {
				this.#repeated += 1;
				continue;
			}
			this.#calls += 1;
			this.#repeated += 1;
			if (op.op === "expect") {
				this.#announcedCount = Math.min(this.#announcedCount + op.count, maxMessages + maxConnections);
			} else if (op.op === "expectMsg") {
				const key = String(op.id);
				if (this.#announced.size < maxMessages && !messages.has(key)) this.#announced.add(key);
			} else if (op.op === "sendRpc") {
				const sends = (it: Effect): boolean =>
					it.effect === "submit" && it.op.which === "send" && it.op.send.rpc === op.rpc;
				if (effects.some(sends)) dispatched.add(String(op.rpc));
			} else if (op.op === "transferConn") {
				const key = connKey(op.id, op.address);
				if (published.delete(key)) use(key);
			} else if (op.op === "sendMsg" || op.op === "sendReply") {
				const key = String(op.id);
				const vain = op.op === "sendReply" && !dispatched.has(String(op.rpc));
				const fails = vain && !messages.has(key) && !this.#owned.has(key) && messages.size < maxMessages;
				if (fails) this.#sent.set(key, { phase: "failed" });
				if (!fails && !published.delete(key)) continue;
				messages.add(key);
				use(key);
			}
		}
	}

	#event(now: number, it: Event): void {
		switch (it.which) {
			case "rpcAccepted": {
				const rpc = this.#rpcs.get(String(it.rpcAccepted.rpc));
				if (rpc === undefined) this.#broken(2, `RPC ${it.rpcAccepted.rpc} was never dispatched`);
				else if (rpc.content !== undefined) this.#broken(2, `RPC ${it.rpcAccepted.rpc} was dispatched twice`);
				else rpc.content = it.rpcAccepted.content;
				break;
			}
			case "rpcDone": {
				const { rpc: id, error, reply } = it.rpcDone;
				const rpc = this.#rpcs.get(String(id));
				if (rpc === undefined) this.#broken(2, `the reply of RPC ${id}, which was never dispatched`);
				else if (rpc.done !== undefined) this.#broken(2, `RPC ${id} has two replies`);
				else {
					const ok = { status: reply.status, length: Number(reply.length) };
					rpc.done = error.code === "ok" ? { ok } : { error };
				}
				break;
			}
			case "claimed": {
				const { claim, id, content, connection, diverges, deadlineMillis } = it.claimed;
				this.#claims.set(claim, {
					id,
					connection,
					key: connection ? connKey(id, content) : String(id),
					deadline: now + deadlineMillis,
					diverges: diverges !== "",
					uncoveredSince: now,
					covered: false,
				});
				break;
			}
			case "served":
				this.#served(String(it.served.id), it.served.error, Number(it.served.bytes));
				break;
			case "messageFailed": {
				const sent = this.#sent.get(String(it.messageFailed.id));
				if (sent?.phase === "sent")
					Object.assign(sent, { phase: "failed", error: it.messageFailed.error.code });
				break;
			}
			case "appMessage": {
				const key = String(it.appMessage.id);
				if (this.#script !== "running") break;
				if (this.#appMessages.has(key)) this.#broken(1, `two messages ${key} of the application`);
				else this.#appMessages.set(key, { length: Number(it.appMessage.length), received: false });
				break;
			}
			case "connOffered": {
				const key = connKey(it.connOffered.id, it.connOffered.address);
				if (this.#script !== "running") break;
				if (this.#offers.has(key)) this.#broken(6, `connection ${key} was offered twice`);
				else this.#offers.set(key, "open");
				break;
			}
			case "connReady":
			case "connTaken": {
				const { id, address, error } = it.which === "connReady" ? it.connReady : it.connTaken;
				const sent = this.#sent.get(connKey(id, address));
				if (["deadline", "cancelled", "alreadyClaimed", "instanceClosed"].includes(error.code)) break;
				if (sent === undefined) this.#broken(6, `connection ${connKey(id, address)} was never handed over`);
				else if (error.code !== "ok" && sent.phase === "sent")
					Object.assign(sent, { phase: "failed", error: error.code });
				else if (it.which === "connTaken") this.#served(connKey(id, address), error, undefined);
				break;
			}
			case "invocationTaken":
				this.#taken = Math.max(this.#taken, Number(it.invocationTaken));
				break;
			case "sandboxExited":
				this.#appGone ??= it.sandboxExited.error.code === "ok" ? "appExited" : it.sandboxExited.error.code;
				break;
			case "ended":
				this.#closed = true;
				break;
			default:
		}
	}

	/** The bridge gave the application what the script had sent. */
	#served(key: string, error: ErrorValue, bytes: number | undefined): void {
		for (const [number, it] of this.#claims) if (it.key === key) this.#claims.delete(number);
		if (error.code !== "ok") return;
		const sent = this.#sent.get(key);
		const rule = key.includes(" ") ? 6 : 5;
		if (sent === undefined) {
			this.#broken(rule === 6 ? 6 : 1, `${key} was given to the application and never sent`);
			return;
		}
		if (sent.phase === "served") this.#broken(rule, `${key} was given to the application twice`);
		if (this.#taken > 1) this.#broken(5, `${key} was given to a later invocation`);
		if (sent.bytes !== undefined && bytes !== undefined && sent.bytes !== bytes)
			this.#broken(1, `message ${key} has ${sent.bytes} bytes, ${bytes} were received`);
		// A connection may be taken while it is being withdrawn.
		if (sent.phase === "sent" || rule === 6) sent.phase = "served";
	}

	// What was decided.

	/** The application reads its own writes. */
	#wrote(content: string): void {
		const [verb, place] = content.split(" ");
		if (verb === "GET" || verb === "HEAD") return;
		for (const [key, sent] of this.#sent) {
			const read = sent.rpc === undefined ? undefined : this.#rpcs.get(String(sent.rpc))?.content;
			if (sent.phase === "sent" && read === `GET ${place}`)
				this.#broken(5, `message ${key} is to be had, and the application wrote to ${place}`);
		}
	}

	#effect(it: Effect, input: Input, running: boolean): void {
		switch (it.effect) {
			case "submit":
				this.#op(it.op, input, running);
				break;
			case "reply":
			case "message":
			case "conn":
				this.#answer(it, input);
				break;
			case "fail":
				this.#failures += 1;
				if (this.#rules.onFailure !== "fail")
					this.#broken(7, "the invocation fails, though the policy is `fallback`");
				if (this.#failures > 1) this.#broken(7, "the invocation fails twice");
				break;
			default:
		}
	}

	#op(op: Op, input: Input, running: boolean): void {
		const ofScript = ["connect", "send", "message", "transfer", "adopt"].includes(op.which);
		if (ofScript && (!running || this.#ends > 0))
			this.#broken(1, `${op.which} of a script that does not run`);
		switch (op.which) {
			case "connect":
				if (this.#connections.has(op.connect.conn))
					this.#broken(6, `connection ${op.connect.conn} is made twice`);
				this.#connections.set(op.connect.conn, "script");
				break;
			case "send": {
				const { rpc, conn } = op.send;
				if (this.#rpcs.has(String(rpc))) this.#broken(2, `RPC ${rpc} is dispatched twice`);
				if (this.#owned.has(String(rpc)))
					this.#broken(3, `RPC ${rpc} is dispatched, and the application does it itself`);
				if (this.#connections.get(conn) !== "script")
					this.#broken(6, `RPC ${rpc} is sent on connection ${conn}, which is not the script's`);
				this.#rpcs.set(String(rpc), {});
				break;
			}
			case "message": {
				const { message } = op;
				const key = String(message.id);
				if (this.#sent.has(key)) this.#broken(2, `message ${key} is sent twice`);
				if (this.#owned.has(key))
					this.#broken(3, `message ${key} is sent, and the application goes on by itself`);
				if (message.which === "reply" && !this.#rpcs.has(String(message.reply)))
					this.#broken(1, `message ${key} carries RPC ${message.reply}, which was not dispatched`);
				const content = message.which === "data" ? { bytes: message.data.length } : { rpc: message.reply };
				this.#sent.set(key, { phase: "sent", ...content });
				break;
			}
			case "transfer": {
				const { id, address, conn } = op.transfer;
				const key = connKey(id, address);
				if (this.#connections.get(conn) !== "script")
					this.#broken(6, `connection ${conn} is handed over, and is not the script's`);
				if (this.#sent.has(key)) this.#broken(6, `a connection is handed over as ${key} twice`);
				if (this.#owned.has(key))
					this.#broken(3, `${key} is handed over, and the application goes on by itself`);
				this.#connections.set(conn, "application");
				this.#sent.set(key, { phase: "sent" });
				break;
			}
			case "adopt": {
				const { id, address, conn } = op.adopt;
				const key = connKey(id, address);
				if (this.#offers.get(key) !== "open") this.#broken(6, `${key} is adopted, and is not to be had`);
				if (this.#connections.has(conn)) this.#broken(6, `connection ${conn} is made twice`);
				this.#offers.set(key, "adopted");
				this.#connections.set(conn, "script");
				break;
			}
			case "decide":
				this.#decide(op.decide.claim, op.decide.error, input);
				break;
			case "void": {
				const sent = this.#sent.get(String(op.void));
				if (sent === undefined) this.#broken(5, `message ${op.void} is voided and was never sent`);
				else sent.phase = "voided";
				break;
			}
			case "withdraw":
				this.#withdrawn(op.withdraw, input);
				break;
			case "scriptEnded":
				this.#ends += 1;
				this.#script = "ended";
				this.#announced.clear();
				this.#announcedCount = 0;
				if (this.#ends > 1) this.#broken(7, "the script ends twice");
				if (input.input === "exit" && input.error !== undefined) this.#endedWith(input.error);
				break;
			default:
		}
	}

	#withdrawn({ id, address, ofApp }: { id: bigint; address: string; ofApp: boolean }, input: Input): void {
		const key = connKey(id, address);
		if (ofApp) {
			const late =
				input.input === "event" && input.event.which === "connOffered" && this.#script !== "running";
			if (!late && this.#offers.get(key) !== "open")
				this.#broken(6, `${key} of the application is withdrawn, and is not to be had`);
			this.#offers.set(key, "withdrawn");
			return;
		}
		const sent = this.#sent.get(key);
		if (sent?.phase !== "sent") this.#broken(6, `${key} is withdrawn, and is not to be had`);
		else sent.phase = "voided";
	}

	/** When an invocation has ended nobody can have what was handed over in it. */
	#allWithdrawn(): void {
		for (const [key, sent] of this.#sent) {
			if (key.includes(" ") && sent.phase === "sent")
				this.#broken(5, `connection ${key} is to be had after its invocation`);
		}
		for (const [key, state] of this.#offers) {
			if (state === "open")
				this.#broken(5, `connection ${key} of the application is to be had after its invocation`);
		}
	}

	/** Under `fail` who waits hears the script's own error. */
	#endedWith(error: ErrorValue): void {
		if (this.#rules.onFailure === "fail") this.#refused.add(error.code);
	}

	#decide(number: bigint, error: ErrorValue, input: Input): void {
		const claim = this.#claims.get(number);
		if (claim === undefined) {
			this.#broken(1, `claim ${number} is answered, and is not open`);
			return;
		}
		this.#claims.delete(number);
		const sent = this.#sent.get(claim.key);
		const { code } = error;
		if (claim.diverges !== (code === "diverged")) {
			this.#broken(
				4,
				`claim ${number} ${claim.diverges ? "diverges" : "does not diverge"}, the answer is ${code}`,
			);
		}
		if (code === "deadline" && input.now < claim.deadline)
			this.#broken(1, `claim ${number} is late before its deadline`);
		if (code === "miss") {
			if (sent?.phase === "sent") this.#broken(1, `claim ${number} is missed, and ${claim.key} was sent`);
			const announced = !claim.connection && this.#announced.has(claim.key);
			if (announced && this.#script === "running" && !this.#owned.has(claim.key))
				this.#broken(3, `claim ${number} is missed, and ${claim.key} was announced`);
		}
		if (code === "alreadyClaimed" && sent?.phase !== "served")
			this.#broken(5, `claim ${number} of ${claim.key}, which was not received before`);
		if (code === "voided" && sent?.phase !== "voided")
			this.#broken(5, `claim ${number} of ${claim.key}, which is not void`);
		if (!claim.diverges && sent?.phase === "failed" && sent.error !== undefined && code !== sent.error)
			this.#broken(7, `claim ${number} fails with ${code}, and the cause was ${sent.error}`);
		if (sent === undefined && ["miss", "deadline", "diverged"].includes(code)) this.#owned.add(claim.key);
	}

	#answer(it: Extract<Effect, { waiter: number }> & { outcome: Outcome<unknown> }, { now }: Input): void {
		const wait = this.#waits.get(it.waiter);
		this.#waits.delete(it.waiter);
		if (wait === undefined || wait.for !== it.effect) {
			this.#broken(1, `waiter ${it.waiter} is answered, and does not wait for a ${it.effect}`);
			return;
		}
		if ("error" in it.outcome) {
			const { code } = it.outcome.error;
			if (code === "deadline" && now < wait.deadline)
				this.#broken(1, `waiter ${it.waiter} is late before its deadline`);
			if (code === "alreadyClaimed" && wait.for === "message" && !this.#appMessages.get(wait.key)?.received)
				this.#broken(5, `message ${wait.key} was not received before`);
			const done = this.#rpcs.get(wait.key)?.done;
			if (wait.for === "reply" && done !== undefined && this.#script === "running") {
				if ("ok" in done && code !== "tooMany")
					this.#broken(1, `the reply of RPC ${wait.key} came, the answer is ${code}`);
				if ("error" in done && done.error.code !== code)
					this.#broken(7, `RPC ${wait.key} failed with ${done.error.code}, the answer is ${code}`);
			}
			return;
		}
		switch (it.effect) {
			case "reply": {
				const done = this.#rpcs.get(wait.key)?.done;
				const same =
					done !== undefined &&
					"ok" in done &&
					"ok" in it.outcome &&
					done.ok.status === it.outcome.ok.status &&
					done.ok.length === it.outcome.ok.length;
				if (!same) this.#broken(1, `the script got another reply of RPC ${wait.key} than came`);
				break;
			}
			case "message": {
				const message = this.#appMessages.get(wait.key);
				if (message === undefined || !("ok" in it.outcome) || it.outcome.ok.length !== message.length)
					this.#broken(1, `the script got another message ${wait.key} than the application sent`);
				else if (message.received) this.#broken(5, `message ${wait.key} is received twice`);
				else message.received = true;
				break;
			}
			case "conn":
				if (!this.#offers.has(wait.key)) this.#broken(6, `${wait.key} was never handed over to the script`);
				break;
		}
	}

	// How things stand after a step.

	#after(now: number): void {
		if (this.#closed) {
			if (this.#waits.size > 0) this.#broken(1, "a call of the script waits after the instance's end");
			return;
		}
		this.#openWaits(now);
		this.#openClaims(now);
		for (const [key, sent] of this.#sent) {
			if (this.#invocation > 1 && sent.phase === "sent" && !key.includes(" "))
				this.#broken(5, `message ${key} is to be had after its invocation`);
		}
		if (this.#rules.onFailure === "fail" && this.#refused.size > 0 && this.#failures === 0)
			this.#broken(7, "the script failed, its policy is `fail`, and the invocation goes on");
	}

	#openWaits(now: number): void {
		for (const [waiter, it] of this.#waits) {
			const name = `waiter ${waiter} for the ${it.for} ${it.key}`;
			if (this.#script !== "running") this.#broken(1, `${name} after the script's end`);
			if (now > it.deadline + this.#slack) this.#broken(1, `${name} is past its deadline`);
			if (it.for === "reply") {
				if (!this.#rpcs.has(it.key)) this.#broken(1, `${name}, which was not dispatched`);
				if (this.#rpcs.get(it.key)?.done !== undefined) this.#broken(1, `${name}, which has come`);
			} else {
				if (this.#appGone !== undefined) this.#broken(7, `${name}, and the application is gone`);
				if (it.for === "message" && this.#appMessages.has(it.key)) this.#broken(1, `${name}, which has come`);
				if (it.for === "conn" && this.#offers.has(it.key)) this.#broken(6, `${name}, which is offered`);
			}
		}
	}

	#openClaims(now: number): void {
		const scriptWaits = [...this.#waits.values()].some((it) => it.for !== "reply");
		let free = this.#announcedCount;
		for (const [number, it] of this.#claims) {
			if (it.diverges) this.#broken(4, `claim ${number} diverges and waits`);
			if (now > it.deadline + this.#slack) this.#broken(1, `claim ${number} is past its deadline`);
			const sent = this.#sent.get(it.key);
			if (sent !== undefined) {
				if (sent.phase === "failed") this.#broken(7, `claim ${number} waits for ${it.key}, which failed`);
				continue;
			}
			if (this.#script !== "running")
				this.#broken(1, `claim ${number} waits, and nobody is going to send ${it.key}`);
			if (this.#owned.has(it.key))
				this.#broken(3, `claim ${number} waits for ${it.key}, which is the application's own`);
			const byId = !it.connection && this.#announced.has(it.key);
			const covered = byId || free > 0;
			if (covered && !byId) free -= 1;
			if (it.covered && !covered) it.uncoveredSince = now;
			it.covered = covered;
			if (covered) continue;
			if (scriptWaits) this.#broken(3, `claim ${number} waits for a script that waits for the application`);
			if (now > it.uncoveredSince + CLAIM_WAIT_MS + this.#slack)
				this.#broken(3, `claim ${number} waits for more than ${CLAIM_WAIT_MS} ms and was not announced`);
		}
	}
}

function openWait(
	what: OpenWait["for"],
	key: string,
	{ now, timeoutMs = 0 }: { now: number; timeoutMs?: number },
): OpenWait {
	return { for: what, key, deadline: timeoutMs === 0 ? Number.POSITIVE_INFINITY : now + timeoutMs };
}

function isAnswer(it: Effect): it is Extract<Effect, { waiter: number; outcome: unknown }> {
	return it.effect === "reply" || it.effect === "message" || it.effect === "conn";
}
