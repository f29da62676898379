/** All workloads, in the order of the paper's figures. A new one is a file beside this and a line here. */
import { IMGREC_PY } from "./imgrec-py.ts";
import { INITSCRIPT } from "./initscript.ts";
import { SEBS } from "./sebs.ts";
import { SHARDED } from "./sharded.ts";
import type { Figure, Workload } from "./workload.ts";

export const WORKLOADS: readonly Workload[] = [...SEBS, IMGREC_PY, ...SHARDED, INITSCRIPT];

export function workloadsOf(figure: Figure): Workload[] {
	return WORKLOADS.filter(({ figures }) => figures.includes(figure));
}
