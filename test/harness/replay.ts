import { check } from "../../src/durable/transcript/recording.ts";
import type { TestNode } from "./node.ts";

/** Replays what the transcripts of ended instances recorded, and judges it by the rules (docs/transcript.md). */
export class Replays {
	readonly #done = new Set<string>();

	/** What is wrong with the instances that have ended since the last time. */
	async check(node: TestNode): Promise<string[]> {
		const found: string[] = [];
		for (const { id, state } of await node.instances()) {
			if (state === "running" || state === "serving" || state === "warm" || this.#done.has(id)) continue;
			this.#done.add(id);
			const { recording, unclaimed } = await node.record(id);
			if (recording !== undefined) found.push(...check(recording, unclaimed).map((it) => `${id}: ${it}`));
		}
		return found;
	}
}
