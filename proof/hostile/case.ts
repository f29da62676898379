import type { BenchNode } from "../../bench/node.ts";
import type { NodeClient } from "../../src/cli/client.ts";

/** What a case is given. */
export interface Stage {
	bench: BenchNode;
	/** The attacking tenant's way to the node. */
	attacker: NodeClient;
	/** The attacking tenant's name. */
	tenant: string;
}

/** One hostile module, script, application or runner. */
export interface Case {
	name: string;
	/** Prepares it once; a refusal of the deploy may be the containment itself: then the words for it. */
	prepare?(stage: Stage): Promise<string | undefined>;
	/**
	 * Does it once. Returns how it was contained; throws {@link Uncontained} when it was not. Is called again and again while a
	 * neighbour works.
	 */
	attack(stage: Stage): Promise<string>;
}

/** The attack came further than it may. */
export class Uncontained extends Error {
	override readonly name = "Uncontained";
}
