/** All workloads, in the order of the paper's figures. A new one is a file beside this and a line here. */
import { IMGREC_PY } from "./imgrec-py.ts";
import { IMGREC_SNAPSHOT } from "./imgrec-snapshot.ts";
import { IMGREC_WASM } from "./imgrec-wasm.ts";
import { INITSCRIPT } from "./initscript.ts";
import { RESTORING } from "./restoring.ts";
import { SEBS } from "./sebs.ts";
import { SHARDED } from "./sharded.ts";
import type { Figure, Workload } from "./workload.ts";

export const WORKLOADS: readonly Workload[] = [
	...SEBS,
	IMGREC_PY,
	IMGREC_WASM,
	...RESTORING,
	...SHARDED,
	IMGREC_SNAPSHOT,
	INITSCRIPT,
];

export function workloadsOf(figure: Figure): Workload[] {
	return WORKLOADS.filter(({ figures }) => figures.includes(figure));
}
