import { afterAll, afterEach, beforeAll, expect, inject } from "vitest";
import { TestNode } from "./node.ts";

/** Starts a node before a file's tests, and checks after them that nothing is left of it. `prepare` deploys. */
export function useNode(prepare: (node: TestNode) => Promise<void>): () => TestNode {
	let node: TestNode | undefined;
	const running = (): TestNode => {
		if (!node) throw new Error("the node does not run");
		return node;
	};
	beforeAll(async () => {
		node = await TestNode.start(inject("host"));
		await prepare(node);
	});
	afterEach(({ task }) => {
		if (task.result?.state !== "fail" || !node) return;
		process.stderr.write(
			`the node's last lines, after "${task.name}":\n${node.lines.slice(-15).join("\n")}\n`,
		);
	});
	afterAll(async () => {
		expect(await node?.stop()).toEqual([]);
	});
	return running;
}
