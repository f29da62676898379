/** Processes of a node, found by their parents. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { RunningNode } from "../../src/cli/node/node.ts";
import { askSocket, until } from "../../src/cli/node/wait.ts";
import type { HostKind } from "./node.ts";

export interface Descendant {
	pid: number;
	/** Its arguments, separated by NUL. */
	command: string;
}

/** The processes below `pid`, each before its own children. */
export async function descendants(pid: number): Promise<Descendant[]> {
	const children = new Map<number, number[]>();
	for (const name of await readdir("/proc")) {
		if (!/^\d+$/.test(name)) continue;
		const stat = await readFile(`/proc/${name}/stat`, "utf8").catch(() => "");
		const parent = Number(/\) \S (\d+)/.exec(stat)?.[1]);
		if (parent) children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
	}
	const below = (of: number): number[] =>
		(children.get(of) ?? []).flatMap((child) => [child, ...below(child)]);
	return Promise.all(
		below(pid).map(async (child) => ({
			pid: child,
			command: await readFile(`/proc/${child}/cmdline`, "utf8").catch(() => ""),
		})),
	);
}

export function kill(pid: number | undefined): void {
	if (pid === undefined) throw new Error("there is no such process");
	process.kill(pid, "SIGKILL");
}

/** Kills the host's process; `wrangler dev` has its workerd below it. */
export async function killHost(pid: number | undefined, kind: HostKind): Promise<void> {
	if (kind === "wrangler") {
		for (const each of await descendants(pid ?? 0)) if (each.command.includes("workerd")) kill(each.pid);
	}
	kill(pid);
}

/** A workerd process that holds initscripts, as the bridge knows it. */
export interface RunnerProcess {
	/** 0: it is being replaced. */
	pid: number;
	/** Empty: a spare one. */
	tenant: string;
	slot: number | null;
	state: "starting" | "ready" | "stalled" | "dead";
	/** headstart/<tag>/runner-<number> */
	cgroup: string;
	/** What it runs as. */
	user: number;
}

/** An application on the host's own kernel, as the bridge knows it. */
export interface BoxedApplication {
	/** Its own, and those of the box. */
	pids: number[];
	/** What it runs as. */
	user: number;
}

/** A node's runners, the spare ones last. */
export async function runnerProcesses(run: string): Promise<RunnerProcess[]> {
	const { body } = await askSocket(join(run, "bridge.sock"), "/inventory");
	return (JSON.parse(body) as { runners: RunnerProcess[] }).runners;
}

/** A node's applications in bubblewrap. */
export async function boxedApplications(run: string): Promise<BoxedApplication[]> {
	const { body } = await askSocket(join(run, "bridge.sock"), "/inventory");
	const { sandboxes } = JSON.parse(body) as { sandboxes: { sandboxes: BoxedApplication[] } };
	return sandboxes.sandboxes;
}

/** The process ids of tenants' runners. */
export async function runners(run: string, tenant?: string): Promise<number[]> {
	const all = await runnerProcesses(run);
	return all
		.filter((it) => it.pid > 0 && (tenant === undefined ? it.slot !== null : it.tenant === tenant))
		.map(({ pid }) => pid);
}

/** The application in a sandbox below a bridge: its program in bubblewrap, the sentry of gVisor. */
export async function application(bridge: number): Promise<number | undefined> {
	const below = await descendants(bridge);
	const sentry = below.find(({ command }) => /runsc-sandbox|\0boot\0/.test(command));
	if (sentry) return sentry.pid;
	return below.findLast(
		({ command }) => command.includes("function:handler") && !/bwrap/.test(command.split("\0")[0] ?? ""),
	)?.pid;
}

/** Who takes part in a start below the host. */
export type Victim = "bridge" | "runner" | "application";

/** Kills one of a node's, as soon as it is there. */
export async function killOne({ bridge, run }: RunningNode, victim: Victim): Promise<void> {
	const find = {
		bridge: () => bridge.pid,
		runner: async () => (await runners(run))[0],
		application: () => application(bridge.pid ?? 0),
	}[victim];
	kill(await until(`the ${victim}`, 10_000, async () => find()));
}
