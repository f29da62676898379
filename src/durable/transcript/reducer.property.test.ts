/**
 * The seven rules hold whatever the order in which script, application, network and clock act, and whoever of them fails.
 * The judge is rules.ts, the players are in reducer.players.ts.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { check } from "./recording.ts";
import { played, plays, type World } from "./reducer.players.ts";
import { reduce } from "./reducer.ts";
import type { Violation } from "./rules.ts";

function holds(property: (world: World) => void, numRuns = 1000): void {
	fc.assert(
		fc.property(plays, ({ rules, acts }) => {
			property(played(rules, acts));
		}),
		{ numRuns },
	);
}

function must(condition: boolean, what: string): void {
	if (!condition) throw new Error(what);
}

const RULES: [Violation["rule"], string][] = [
	[1, "what is received is what was sent, and nobody waits without a producer or past a deadline"],
	[2, "an RPC is dispatched at most once, a message sent at most once"],
	[3, "the application is never ahead: what it was told to do itself is not done for it"],
	[4, "other content under an id is a divergence, never data"],
	[5, "results belong to one invocation, are claimed once, and are void after a write"],
	[6, "a connection has one owner"],
	[7, "a failure of one side is an error at the other, with its cause"],
];

test.each(RULES)("rule %i: %s", (rule) => {
	holds((world) => {
		world.rest();
		const broken = world.book.violations.filter((it) => it.rule === rule);
		must(broken.length === 0, broken.map(({ what }) => what).join("; "));
	}, 3000);
});

test("limits are kept", () => {
	holds(({ sent, state }) => {
		const count = (...kinds: string[]): number => sent.filter(({ which }) => kinds.includes(which)).length;
		must(count("connect", "adopt") <= state.rules.maxConnections, "too many connections");
		must(count("send") <= state.rules.maxRpcs, "too many RPCs");
		must(count("message") <= state.rules.maxMessages, "too many messages");
		must(state.bytes <= state.rules.maxBytes, "too many bytes");
	});
});

test("who waits hears at most once, and at the end exactly once", () => {
	holds((world) => {
		world.play({ act: "close" });
		must(world.answers.size === world.waiters, "a waiter without an answer");
		must(
			[...world.answers.values()].every((times) => times === 1),
			"a waiter with two answers",
		);
	});
});

test("a claim and the script are never both waited for: when all time has passed nobody waits", () => {
	holds((world) => {
		world.play({ act: "exit", failed: false });
		world.rest();
		must(world.state.closed !== undefined || world.state.claims.size === 0, "a claim that waits for ever");
		must(world.state.waits.size === 0, "a call that waits for ever");
	});
});

test("timers do not pile up", () => {
	holds((world) => {
		// Of those that wait now: some of them are decided in the rounds.
		const claims = world.state.claims.size;
		let timers = 0;
		for (let round = 0; round < 40; round += 1) {
			for (const op of [
				{ op: "expect", count: 1 },
				{ op: "sendMsg", id: BigInt(100 + round), data: new Uint8Array() },
			] as const) {
				const effects = reduce(world.state, { input: "ops", now: world.now, ops: [op] });
				timers += effects.filter(({ effect }) => effect === "timer").length;
			}
		}
		must(timers <= 2 * claims, `${timers} timers of ${claims} claims`);
	});
});

test("a recorded run is replayed to the same end", () => {
	holds((world) => {
		world.play({ act: "close" });
		const recording = JSON.parse(JSON.stringify(world.recorder.recording));
		expect(check(recording)).toEqual([]);
	}, 3000);
});

test("the players come to everything that there is to decide", () => {
	const seen = new Set<string>();
	for (const { rules, acts } of fc.sample(plays, { numRuns: 6000, seed: 7 })) {
		const world = played(rules, acts);
		for (const { effects } of world.recorder.recording.steps) {
			for (const effect of effects)
				seen.add(effect.replaceAll(/ [\d].*(?= )| \d+$|(?<=transfer|adopt) .*/g, ""));
		}
	}
	const decisions = ["miss", "deadline", "diverged", "alreadyClaimed", "voided", "cancelled", "rpcUnknown"];
	const causes = ["connectionReset", "instanceMemoryFull", "initscriptTrapped", "runnerLost"];
	const answers = [
		...["ok", "rpcUnknown", "deadline", "cancelled", "connectionReset", "appOwns", "initscriptRpcs"].map(
			(it) => `reply ${it}`,
		),
		...["ok", "alreadyClaimed", "deadline", "cancelled", "appExited", "instanceMemoryFull", "runnerLost"].map(
			(it) => `message ${it}`,
		),
		...["ok", "alreadyClaimed", "invalidArgument", "initscriptConnections", "deadline", "appExited"].map(
			(it) => `conn ${it}`,
		),
	];
	for (const code of [...decisions, ...causes]) expect(seen).toContain(`decide ${code}`);
	for (const answer of answers) expect(seen).toContain(answer);
	for (const op of [
		"connect",
		"send",
		"message data",
		"message reply",
		"transfer",
		"adopt",
		"withdraw offer",
		"withdraw gift",
		"void",
		"scriptEnded",
	])
		expect([...seen].some((it) => it.startsWith(op))).toBe(true);
});
