/** Hostile initscripts, modules and applications, while a neighbour tenant works: docs/proof.md. */

import { setTimeout as sleep } from "node:timers/promises";
import { Command } from "commander";
import { type BenchNode, withNode } from "../../bench/node.ts";
import { count } from "../../bench/options.ts";
import { progress } from "../../bench/progress.ts";
import { round } from "../../bench/stats.ts";
import { type Stop, stopOnSignal, untilStopped } from "../../bench/stop.ts";
import { deploy } from "../../src/cli/deploy/deploy.ts";
import { leaksAfter } from "../../src/cli/doctor/leaks.ts";
import { describe } from "../../src/cli/errors.ts";
import { inRoot } from "../../src/cli/paths.ts";
import { SMALL_BYTES } from "../small.ts";
import { type Case, type Stage, Uncontained } from "./case.ts";
import { appCases } from "./cases/apps.ts";
import { moduleCases } from "./cases/modules.ts";
import { scriptCases } from "./cases/scripts.ts";
import { p99, work } from "./neighbour.ts";
import { settle } from "./settle.ts";

/** What `npm run -s hostile -- --json` prints. */
interface HostileReport {
	cases: CaseReport[];
	uncontained: number;
	/** Of the neighbour alone, ms. */
	undisturbed_p99_ms: number;
	interrupted?: true;
}

interface CaseReport {
	name: string;
	contained: boolean;
	/** How it was contained, or what it could do. */
	how: string;
	/** The neighbour's invocations while the case ran: wrong or failed ones, and their p99 over the undisturbed one. */
	neighbour: { invocations: number; errors: number; p99_ratio: number | null };
}

const CASES: readonly Case[] = [...scriptCases, ...moduleCases, ...appCases];
/** The undisturbed measurement has so many times the invocations that a case disturbs. */
const UNDISTURBED = 5;
/** What the attackers fetch, bytes. */
const BIG = 2_000_000;
/** How long what a case has ended may take to be reaped, ms. */
const REAPED = 15_000;

const options = new Command("hostile")
	.description("Hostile initscripts, modules and applications beside a tenant that works")
	.option("--only <text>", "the cases whose name has this text")
	.option("--invocations <n>", "the neighbour's beside each case", count, 40)
	.option("--json", "print one JSON object")
	.parse()
	.opts<{ only?: string; invocations: number; json?: true }>();

async function hostile(bench: BenchNode, stop: Stop): Promise<HostileReport> {
	const wanted = CASES.filter(({ name }) => name.includes(options.only ?? ""));
	const { stage, neighbour } = await settle(bench);
	await deploy(inRoot("proof/functions/small"), neighbour);
	const shown = progress(wanted.length + 1);
	shown.step("the neighbour alone");
	let alone = 0;
	const undisturbed = await work(
		neighbour,
		() => stop.requested || ++alone > UNDISTURBED * options.invocations,
	);
	if (undisturbed.errors[0] !== undefined) throw new Error(`undisturbed: ${undisturbed.errors[0]}`);
	const base = p99(undisturbed.times);
	const cases: CaseReport[] = [];
	const whole = await untilStopped(stop, wanted, async (it) => {
		shown.step(it.name);
		const made = await one(bench, stage, it, neighbour, base);
		cases.push(made);
		if (!made.contained) shown.note(`${it.name}: ${made.how}`);
	});
	shown.done();
	return {
		cases,
		uncontained: cases.filter(({ contained }) => !contained).length,
		undisturbed_p99_ms: round(base, 1),
		...(whole ? {} : { interrupted: true as const }),
	};
}

/** Repeats an attack until the neighbour has done its work beside it. */
async function one(
	bench: BenchNode,
	stage: Stage,
	it: Case,
	client: Stage["attacker"],
	base: number,
): Promise<CaseReport> {
	const outcome = await prepared(stage, it);
	let over = false;
	let done = 0;
	const beside = work(client, () => over || ++done > options.invocations);
	try {
		while (done < options.invocations && outcome.contained && !stop.requested) {
			Object.assign(outcome, await attacked(stage, it));
			// What was refused before is refused at once: the neighbour must have its turn.
			await sleep(10);
		}
	} finally {
		over = done >= options.invocations || !outcome.contained || stop.requested;
	}
	const { times, errors } = await beside;
	const leaks = await leaksAfter(bench.node.run, bench.node.state, REAPED);
	if (leaks.length > 0) {
		const what = leaks.map(({ kind, name }) => `${kind} ${name}`).join(", ");
		Object.assign(outcome, { contained: false, how: `it left ${what}` });
	}
	return {
		name: it.name,
		...outcome,
		neighbour: {
			invocations: times.length + errors.length,
			errors: errors.length,
			p99_ratio: times.length === 0 ? null : round(p99(times) / base, 2),
		},
	};
}

interface Ended {
	contained: boolean;
	how: string;
}

async function prepared(stage: Stage, it: Case): Promise<Ended> {
	return guarded(async () => (await it.prepare?.(stage)) ?? "");
}

function attacked(stage: Stage, it: Case): Promise<Ended> {
	return guarded(() => it.attack(stage));
}

async function guarded(act: () => Promise<string>): Promise<Ended> {
	try {
		return { contained: true, how: await act() };
	} catch (error) {
		const how = error instanceof Uncontained ? error.message : `it failed otherwise: ${describe(error)}`;
		return { contained: false, how };
	}
}

function print({ cases, uncontained, undisturbed_p99_ms }: HostileReport): string {
	return [
		...cases.map(
			({ name, contained, how, neighbour }) =>
				`${contained ? "contained  " : "UNCONTAINED"} ${name}: ${how.slice(0, 120)} (neighbour: ${neighbour.errors} errors, p99 × ${neighbour.p99_ratio})`,
		),
		`${cases.length} cases, ${uncontained} uncontained; the neighbour's p99 undisturbed: ${undisturbed_p99_ms} ms`,
	].join("\n");
}

const stop = stopOnSignal();
try {
	const report = await withNode(
		{ devStore: "plain", development: false, objects: { "inputs/small": SMALL_BYTES, "inputs/big": BIG } },
		(bench) => hostile(bench, stop),
	);
	process.stdout.write(`${options.json ? JSON.stringify(report) : print(report)}\n`);
	if (report.uncontained > 0) process.exitCode = 1;
} catch (error) {
	process.stderr.write(`hostile: ${describe(error)}\n`);
	process.exitCode = 1;
} finally {
	if (stop.requested) process.exitCode = 130;
	stop.release();
}
