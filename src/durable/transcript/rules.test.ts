/** The judge finds what is wrong: a reducer that did the following would break these rules. */
import { expect, test } from "vitest";
import type { Event, Op } from "../../bridge/bridge.ts";
import type { ScriptOp } from "../../isolates/protocol.ts";
import type { Input } from "./reducer.ts";
import { RuleBook, type Violation } from "./rules.ts";
import { CLAIM_WAIT_MS, type Effect, type Rules } from "./state.ts";

const rules: Rules = {
	script: true,
	app: true,
	onFailure: "fail",
	maxRpcs: 8,
	maxConnections: 8,
	maxMessages: 8,
	maxBytes: 1 << 20,
};
const none = { code: "ok", message: "" } as const;
const bytes = (length: number): Uint8Array => new Uint8Array(length);

type Step = [Input, Effect[]?];

const submit = (op: Op): Effect => ({ effect: "submit", op });
const ops = (...calls: ScriptOp[]): Input => ({ input: "ops", now: 0, ops: calls });
const event = (it: Record<string, unknown> & { which: Event["which"] }, now = 0): Input => ({
	input: "event",
	now,
	event: { seq: 1n, at: 0n, ...it } as Event,
});
const wait = (ms: number): Step => [{ input: "timer", now: ms, claim: 99n }];
const claim = (id: bigint, more: object = {}): Input =>
	event({
		which: "claimed",
		claimed: { claim: 1n, id, content: "", diverges: "", deadlineMillis: 1000, connection: false, ...more },
	});
const decide = (code: "miss" | "deadline" | "diverged" | "alreadyClaimed" | "connectionReset"): Effect =>
	submit({ which: "decide", decide: { claim: 1n, error: { code, message: "" } } });

const connect = submit({ which: "connect", connect: { conn: 1, address: "s3://b" } });
const send = (rpc: bigint): Effect =>
	submit({
		which: "send",
		send: { conn: 1, rpc, request: bytes(1), timeoutMillis: 0, place: "", placeOffset: 0n, placeRoom: 0n },
	});
const message = (id: bigint, data = bytes(1)): Effect =>
	submit({ which: "message", message: { which: "data", data, id, content: "" } });
const transfer = submit({ which: "transfer", transfer: { id: 1n, address: "tcp://a:1", conn: 1 } });
const withdraw = submit({ which: "withdraw", withdraw: { id: 1n, address: "tcp://a:1", ofApp: false } });
const say = (id: bigint): ScriptOp => ({ op: "sendMsg", id, data: bytes(1) });
const made: Step = [ops({ op: "connect", conn: 1, address: "s3://b" }), [connect]];
const served = (id: bigint, length = 1n): Input =>
	event({ which: "served", served: { id, bytes: length, waitedNanos: 0n, error: none } });
const appSends = event({ which: "appMessage", appMessage: { id: 1n, length: 3n, inlined: bytes(3) } });
const recvMsg: Input = { input: "recvMsg", now: 0, waiter: 0, id: 1n, timeoutMs: 10 };
const got = (length: number): Effect => ({ effect: "message", waiter: 0, outcome: { ok: { length } } });
const trapped = { code: "initscriptTrapped", message: "" } as const;
const ended = submit({ which: "scriptEnded" });

const broken: [Violation["rule"], string, Step[]][] = [
	[1, "a claim that is forgotten", [[claim(1n)], wait(1001)]],
	[1, "a claim that waits for a script that has ended", [[claim(1n)], [{ input: "exit", now: 0 }, [ended]]]],
	[1, "a claim that is answered twice", [[claim(1n), [decide("miss"), decide("miss")]]]],
	[
		1,
		"a miss for what was sent",
		[
			[ops(say(1n)), [message(1n)]],
			[claim(1n), [decide("miss")]],
		],
	],
	[1, "other bytes than were sent", [[ops(say(1n)), [message(1n)]], [served(1n, 2n)]]],
	[1, "a message that nobody sent", [[served(1n)]]],
	[1, "a call past its deadline", [[recvMsg], wait(11)]],
	[1, "a call that waits for what is there", [[recvMsg], [appSends]]],
	[1, "another message than the application's", [[appSends], [recvMsg, [got(4)]]]],
	[1, "a deadline before its time", [[claim(1n), [decide("deadline")]]]],
	[2, "an RPC twice", [made, [ops(), [send(1n), send(1n)]]]],
	[2, "a message twice", [[ops(say(1n), say(1n)), [message(1n), message(1n)]]]],
	[
		2,
		"an RPC that the bridge sent by itself",
		[[event({ which: "rpcAccepted", rpcAccepted: { rpc: 1n, content: "", idempotent: true } })]],
	],
	[3, "an RPC that is the application's", [made, [claim(1n), [decide("miss")]], [ops(), [send(1n)]]]],
	[
		3,
		"a message that is the application's",
		[
			[claim(1n), [decide("miss")]],
			[ops(say(1n)), [message(1n)]],
		],
	],
	[3, "an unexpected claim that waits", [[claim(1n)], wait(CLAIM_WAIT_MS + 1)]],
	[3, "a refusal of what was announced", [[ops({ op: "expectMsg", id: 1n })], [claim(1n), [decide("miss")]]]],
	[
		3,
		"a refusal of what was announced by number",
		[[ops({ op: "expect", count: 1 })], [claim(1n), [decide("miss")]]],
	],
	[
		1,
		"a claim that is forgotten with another of its id",
		[
			[ops({ op: "expectMsg", id: 1n })],
			[claim(1n)],
			[claim(1n, { claim: 2n })],
			[
				event({
					which: "served",
					served: { id: 1n, bytes: 0n, waitedNanos: 0n, error: { code: "deadline", message: "" } },
				}),
			],
			[{ input: "exit", now: 0 }, [ended]],
		],
	],
	[
		5,
		"an old state of what was written, sent after that",
		[
			made,
			[ops({ op: "sendRpc", conn: 1, rpc: 1n, request: bytes(1) }), [send(1n)]],
			[event({ which: "rpcAccepted", rpcAccepted: { rpc: 1n, content: "GET s3://b/k", idempotent: true } })],
			[
				event({
					which: "called",
					called: { content: "PUT s3://b/k", status: 200, bytes: 0n, nanos: 0n, error: none },
				}),
			],
			[
				ops({ op: "sendReply", id: 1n, rpc: 1n }),
				[submit({ which: "message", message: { which: "reply", reply: 1n, id: 1n, content: "" } })],
			],
		],
	],
	[
		7,
		"a miss for what the script failed to send, where that is to be told",
		[
			[claim(1n)],
			[
				{ input: "exit", now: 0, error: trapped },
				[ended, decide("miss"), { effect: "fail", error: trapped }],
			],
		],
	],
	[
		7,
		"another cause than the application's end",
		[
			[recvMsg],
			[
				event({ which: "sandboxExited", sandboxExited: { status: 1, signal: 0, error: none } }),
				[{ effect: "message", waiter: 0, outcome: { error: { code: "cancelled", message: "" } } }],
			],
		],
	],
	[3, "a claim and a script that wait for one another", [[recvMsg], [claim(2n)]]],
	[4, "data for a claim of other content", [[claim(1n, { diverges: "GET x" })]]],
	[4, "a divergence where there is none", [[claim(1n), [decide("diverged")]]]],
	[5, "a message that is given twice", [[ops(say(1n)), [message(1n)]], [served(1n)], [served(1n)]]],
	[
		5,
		"a message of another invocation",
		[
			[ops(say(1n)), [message(1n)]],
			[{ input: "invocation", now: 0 }, [ended]],
		],
	],
	[5, "a connection of another invocation", [made, [ops(), [transfer]], [{ input: "answered", now: 0 }]]],
	[
		5,
		"a connection of the application's of another invocation",
		[
			[event({ which: "connOffered", connOffered: { id: 1n, address: "tcp://a:1" } })],
			[{ input: "invocation", now: 0 }, [ended]],
		],
	],
	[5, "a message that is received twice", [[appSends], [recvMsg, [got(3)]], [{ ...recvMsg }, [got(3)]]]],
	[
		5,
		"an old state of what was written",
		[
			made,
			[
				ops({ op: "sendRpc", conn: 1, rpc: 1n, request: bytes(1) }, { op: "sendReply", id: 1n, rpc: 1n }),
				[send(1n), submit({ which: "message", message: { which: "reply", reply: 1n, id: 1n, content: "" } })],
			],
			[event({ which: "rpcAccepted", rpcAccepted: { rpc: 1n, content: "GET s3://b/k", idempotent: true } })],
			[
				event({
					which: "called",
					called: { content: "PUT s3://b/k", status: 200, bytes: 0n, nanos: 0n, error: none },
				}),
			],
		],
	],
	[6, "an RPC on a connection that was handed over", [made, [ops(), [transfer, send(1n)]]]],
	[6, "a connection that is handed over twice", [made, [ops(), [transfer, transfer]]]],
	[6, "a connection that is withdrawn twice", [made, [ops(), [transfer, withdraw, withdraw]]]],
	[
		6,
		"a connection that nobody offered",
		[[ops(), [submit({ which: "adopt", adopt: { conn: 1, id: 1n, address: "" } })]]],
	],
	[
		6,
		"a connection that is taken and was not handed over",
		[[event({ which: "connTaken", connTaken: { id: 1n, address: "a", kind: "socket", error: none } })]],
	],
	[7, "a failure that nobody hears of", [[{ input: "exit", now: 0, error: trapped }, [ended]]]],
	[
		7,
		"a call that waits for an application that is gone",
		[[recvMsg], [event({ which: "sandboxExited", sandboxExited: { status: 1, signal: 0, error: none } })]],
	],
	[
		7,
		"a claim that waits for what has failed",
		[
			[claim(1n)],
			[ops(say(1n)), [message(1n)]],
			[
				event({
					which: "messageFailed",
					messageFailed: { id: 1n, error: { code: "connectionReset", message: "" } },
				}),
			],
		],
	],
];

test.each(broken)("rule %i is broken by %s", (rule, _, steps) => {
	const book = new RuleBook(rules);
	for (const [input, effects = []] of steps) book.step(input, effects);
	expect(book.violations.map((it) => it.rule)).toContain(rule);
});
