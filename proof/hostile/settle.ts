import type { BenchNode } from "../../bench/node.ts";
import type { NodeClient } from "../../src/cli/client.ts";
import type { Stage } from "./case.ts";

/** Makes the two tenants of a run. */
export async function settle(bench: BenchNode): Promise<{ stage: Stage; neighbour: NodeClient }> {
	return { stage: { bench, attacker: bench.client, tenant: "default" }, neighbour: bench.client };
}
