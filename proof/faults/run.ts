/** One cell of the fault matrix: an invocation, the fault at its step, and what came of it. */
import { createHash, randomBytes } from "node:crypto";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { BenchNode } from "../../bench/node.ts";
import { faultStore, resetStore } from "../../bench/store.ts";
import { type Leak, leaksAfter } from "../../src/cli/doctor/leaks.ts";
import { askSocket, until } from "../../src/cli/node/wait.ts";
import type { InstanceRecord, InstanceSummary } from "../../src/shared/record.ts";
import { application, runners } from "../../test/harness/processes.ts";
import type { Cell, Fault, Step, Victim } from "./cells.ts";
import { invoke, type Sent } from "./client.ts";
import type { Gate } from "./gate.ts";
import { judge, type Seen, type Verdict } from "./judge.ts";

export interface Result {
	verdict: Verdict;
	leaks: Leak[];
}

/** How long a stopped process stays stopped, ms. */
const STOPPED = 3_000;
/** How long the invocation may take to come to its step. */
const REACH = 10_000;
/** How long the node may take to work again, and to have nothing left of the cell. */
const RECOVERY = 30_000;
const REAPED = 15_000;
/** The object that is fetched, bytes, and what is done to its transfer. */
export const OBJECT_BYTES = 4 << 20;
const HALF_MS = 1_500;

/** What an invocation must answer. */
export interface Expected {
	sum: string;
	note: string;
	echo: string;
}

export function expectedOf(object: Buffer, note: string): Expected {
	return { sum: createHash("sha256").update(object).digest("hex"), note, echo: "ping" };
}

/** Runs a cell on a node that works. Returns when the node works again and what it left is counted. */
export async function runCell(bench: BenchNode, gate: Gate, cell: Cell, object: Buffer): Promise<Result> {
	const note = randomBytes(8).toString("hex");
	const event = { hold: cell.step, gate: gate.url, echo: gate.echo, note };
	const known = new Set((await instances(bench)).map(({ id }) => id));
	let harmed = 0;
	const held = gate.hold();
	let verdict: Verdict;
	try {
		await prepare(bench, cell.step);
		const sent = invoke(bench.node.url, cell.isolation, event);
		const reached = await reach(bench, cell.step, held, sent, known);
		if (reached === undefined) {
			const victims = await pidsOf(bench, cell.victim);
			harmed = Date.now();
			await inflict(cell.fault, victims, () => gate.letGo());
		}
		gate.letGo();
		const seen = await sent.seen;
		await recover(bench, gate, cell, object);
		const record = await recordOf(bench, seen, known, harmed);
		verdict =
			reached === undefined
				? judge(cell, JSON.stringify(expectedOf(object, note)), seen, record)
				: { failure: reached };
	} catch (error) {
		gate.letGo();
		verdict = { failure: error instanceof Error ? error.message : String(error) };
	}
	return { verdict, leaks: await leaksAfter(bench.node.run, bench.node.state, REAPED) };
}

/** The store holds the object back, or half of it. */
async function prepare({ store }: BenchNode, step: Step): Promise<void> {
	await resetStore(store.admin);
	if (step === "rpc sent") {
		await faultStore(store.admin, { request: "GET inputs/big", kind: "slow", ms: HALF_MS });
	} else if (step === "half a reply") {
		const after = OBJECT_BYTES / 2;
		await faultStore(store.admin, { request: "GET inputs/big", kind: "stall", after, ms: HALF_MS });
	}
}

/** Waits for the step. The reason, when it is not reached. */
async function reach(
	bench: BenchNode,
	step: Step,
	held: Promise<string>,
	sent: Sent,
	known: ReadonlySet<string>,
): Promise<string | undefined> {
	const tooLate = sleep(REACH, `the step was not reached within ${REACH / 1000} s`, { ref: false });
	const over = sent.seen.then((seen) => `the invocation ended before the step: ${JSON.stringify(seen)}`);
	const there = async (): Promise<undefined> => {
		switch (step) {
			case "accepted":
				await live(bench, known, ({ function: name }) => name !== null);
				return;
			case "sandbox created":
				await live(bench, known, ({ sandboxPid }) => sandboxPid !== null);
				return;
			case "answer half sent":
				await Promise.all([held, sent.begun]);
				return;
			case "rpc sent":
			case "half a reply":
				await held;
				// The request has left in the same batch; what the store sends of it comes within this time.
				await sleep(150);
				return;
			default:
				await held;
		}
	};
	return Promise.race([there(), tooLate, over]);
}

/** What the bridge says of an instance. */
interface Snapshot {
	id: string;
	function: string | null;
	sandboxPid: number | null;
	stage: string;
}

/** Waits until the bridge has a new instance that is so. */
async function live(
	{ node }: BenchNode,
	known: ReadonlySet<string>,
	is: (snapshot: Snapshot) => boolean,
): Promise<void> {
	for (const end = Date.now() + REACH; Date.now() < end; ) {
		const { body } = await askSocket(join(node.run, "bridge.sock"), "/inventory");
		const { instances: all } = JSON.parse(body) as { instances: Snapshot[] };
		if (all.some((it) => !known.has(it.id) && it.stage === "started" && is(it))) return;
	}
}

async function pidsOf({ node, store }: BenchNode, victim: Victim): Promise<number[]> {
	const one = (pid: number | undefined): number[] => (pid === undefined ? [] : [pid]);
	switch (victim) {
		case "host":
			return one(node.host.pid);
		case "bridge":
			return one(node.bridge.pid);
		case "store":
			return one(store.store.pid);
		case "runner":
			return runners(node.run);
		case "app":
			return one(await until("the application", 5_000, async () => application(node.bridge.pid ?? 0)));
	}
}

async function inflict(fault: Fault, pids: number[], then: () => void): Promise<void> {
	const signal = (name: NodeJS.Signals): void => {
		for (const pid of pids) {
			try {
				process.kill(pid, name);
			} catch {
				// It has ended by itself.
			}
		}
	};
	if (pids.length === 0) throw new Error("there is no such process to harm");
	if (fault === "kill") {
		signal("SIGKILL");
		then();
		return;
	}
	signal("SIGSTOP");
	then();
	await sleep(STOPPED);
	signal("SIGCONT");
}

/** Waits until an undisturbed invocation is right again. */
async function recover(bench: BenchNode, gate: Gate, cell: Cell, object: Buffer): Promise<void> {
	const note = "recovered";
	const { sum } = expectedOf(object, note);
	await until("an undisturbed invocation", RECOVERY, async () => {
		const event = { hold: "", gate: gate.url, echo: gate.echo, note };
		const seen = await invoke(bench.node.url, cell.isolation, event).seen;
		if (seen.kind === "answer" && seen.body.includes(sum)) return true;
		throw new Error(seen.kind === "answer" ? `${seen.status}: ${seen.body.slice(0, 300)}` : seen.message);
	});
}

async function instances({ client }: BenchNode): Promise<InstanceSummary[]> {
	return (await client.json<{ instances: InstanceSummary[] }>("/v1/instances?limit=20")).instances;
}

/** The record of the cell's instance: by its id where the answer said it, else the new one from before the fault. */
async function recordOf(
	bench: BenchNode,
	seen: Seen,
	known: ReadonlySet<string>,
	harmed: number,
): Promise<InstanceRecord | undefined> {
	const before = ({ id, startedAt }: InstanceSummary): boolean => !known.has(id) && startedAt <= harmed;
	const id = seen.instance || (await instances(bench)).findLast(before)?.id;
	if (id === undefined) return undefined;
	return until("the instance's record", REAPED, async () => {
		const record = await bench.client.json<InstanceRecord>(`/v1/instances/${id}`);
		return record.state === "running" || record.state === "warm" ? undefined : record;
	}).catch(() => undefined);
}
