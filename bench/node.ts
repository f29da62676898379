import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NodeClient } from "../src/cli/client.ts";
import type { BridgeImages, BridgeMemory } from "../src/cli/node/bridge-config.ts";
import { type RunningNode, startNode } from "../src/cli/node/node.ts";
import { ownSeconds, processes, tree, treeSeconds } from "./cpu.ts";
import { Invoker } from "./invoke.ts";
import { type Objects, putObjects } from "./store.ts";

/** A node that was started for one measurement, with a store of its own. */
export interface BenchNode {
	node: RunningNode;
	store: NonNullable<RunningNode["store"]>;
	client: NodeClient;
	invoker: Invoker;
	/** The folder of what the store has. */
	storeDir: string;
}

export interface BenchNodeOptions {
	/** The store plain, or behind the link shaped like S3. */
	devStore: "plain" | "s3";
	/** What the store has. */
	objects: Objects;
	memory?: BridgeMemory;
	/** Where images of applications come from; none without it. */
	images?: BridgeImages;
	/** Whether the node asks for no tokens; it does not, unless this is false. */
	development?: boolean;
}

/** How many of the node's last lines are shown when something fails. */
const LINES = 40;

/**
 * Starts a node in a temporary directory, and stops it when `use` returns. When that fails, the node's last lines go to stderr.
 */
export async function withNode<T>(
	options: BenchNodeOptions,
	use: (node: BenchNode) => Promise<T>,
): Promise<T> {
	const folder = await mkdtemp(join(tmpdir(), "hsb-"));
	const lines: string[] = [];
	const sink = (from: string, line: string): void => {
		lines.push(`${from}: ${line}`);
		if (lines.length > LINES) lines.shift();
	};
	try {
		const storeDir = join(folder, "store");
		await putObjects(storeDir, options.objects);
		const node = await startNode({
			run: join(folder, "run"),
			state: join(folder, "state"),
			port: 0,
			development: options.development ?? true,
			devStore: options.devStore,
			storeDir,
			...(options.memory && { memory: options.memory }),
			...(options.images && { images: options.images }),
			sink,
		});
		try {
			const { store } = node;
			if (store === undefined) throw new Error("the node runs without its store");
			const invoker = new Invoker(node.url);
			try {
				return await use({
					node,
					store,
					client: new NodeClient(node.url),
					invoker,
					storeDir,
				});
			} finally {
				invoker.close();
			}
		} finally {
			await node.stop();
		}
	} catch (error) {
		for (const line of lines) process.stderr.write(`  ${line}\n`);
		throw error;
	} finally {
		await removeFolder(folder);
	}
}

/** Removes a node's folder unless something is still mounted in it: that would be removed, too. */
async function removeFolder(folder: string): Promise<void> {
	const mounts = (await readFile("/proc/self/mounts", "utf8"))
		.split("\n")
		.flatMap((line) => line.split(" ")[1] ?? [])
		.filter((path) => path.startsWith(`${folder}/`));
	if (mounts.length === 0) await rm(folder, { recursive: true, force: true });
	else process.stderr.write(`bench: ${folder} is left, because of mounts: ${mounts.join(", ")}\n`);
}

export type CpuSeconds = Record<"store" | "link" | "bridge" | "host" | "runner", number>;

/** CPU seconds that a node's programs have used until now. The bridge without the sandboxes and the runner below it. */
export function cpuSeconds({ node, store }: BenchNode): CpuSeconds {
	const of = (pid: number | undefined, seconds: (pid: number) => number): number =>
		pid === undefined ? 0 : seconds(pid);
	const runner = tree(processes(), node.bridge.pid ?? 0).filter((process) => process.name === "workerd");
	return {
		store: of(store.store.pid, ownSeconds),
		link: of(store.link?.pid, ownSeconds),
		bridge: of(node.bridge.pid, ownSeconds),
		host: of(node.host.pid, treeSeconds),
		runner: runner.reduce((sum, process) => sum + process.seconds, 0),
	};
}

/** What was used between two readings, seconds to a hundredth. */
export function cpuBetween(before: CpuSeconds, after: CpuSeconds): CpuSeconds {
	const difference = (name: keyof CpuSeconds): number => Number((after[name] - before[name]).toFixed(2));
	return {
		store: difference("store"),
		link: difference("link"),
		bridge: difference("bridge"),
		host: difference("host"),
		runner: difference("runner"),
	};
}
