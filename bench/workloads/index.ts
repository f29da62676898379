/** All workloads, in the order of the paper's figures. A new one is a file beside this and a line here. */
import { SEBS } from "./sebs.ts";
import { SHARDED } from "./sharded.ts";
import type { Figure, Workload } from "./workload.ts";

export const WORKLOADS: readonly Workload[] = [...SEBS, ...SHARDED];

export function workloadsOf(figure: Figure): Workload[] {
	return WORKLOADS.filter(({ figures }) => figures.includes(figure));
}
