import { afterAll, beforeAll, expect, inject } from "vitest";
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
	afterAll(async () => {
		expect(await node?.stop()).toEqual([]);
	});
	return running;
}
