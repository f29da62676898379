import { afterAll, afterEach, beforeAll, expect, inject } from "vitest";
import { type Settings, TestNode } from "./node.ts";
import { Replays } from "./replay.ts";

/** How long after the last invocation something of an ended instance may still be there, ms. */
const REAPING = 3_000;

/**
 * Starts a node before a file's tests. After each of them nothing may be left of what ended in it, and what was recorded of it
 * must keep the transcript's rules; after all nothing may be left of the node. `prepare` deploys.
 */
export function useNode(prepare: (node: TestNode) => Promise<void>, settings: Settings = {}): () => TestNode {
	let node: TestNode | undefined;
	const replays = new Replays();
	const running = (): TestNode => {
		if (!node) throw new Error("the node does not run");
		return node;
	};
	beforeAll(async () => {
		node = await TestNode.start(inject("host"), settings);
		await prepare(node);
	});
	afterEach(async ({ task }) => {
		if (!node) return;
		if (task.result?.state === "fail") {
			const lines = node.lines.slice(-15).join("\n");
			process.stderr.write(`the node's last lines, after "${task.name}":\n${lines}\n`);
			return;
		}
		await node.quiet();
		expect(await node.leaks(REAPING)).toEqual([]);
		expect(await replays.check(node)).toEqual([]);
	});
	afterAll(async () => {
		expect(await node?.stop()).toEqual([]);
	});
	return running;
}
