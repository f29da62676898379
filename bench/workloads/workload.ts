/** What one workload of the paper's evaluation is to the bench: its rows, how it is staged, and what one start of each arm gives. */

import type { ImageStore } from "../evaluation/images.ts";
import type { Keeper } from "../evaluation/keeper.ts";
import type { Links } from "../evaluation/links.ts";
import type { Segment } from "../evaluation/waterfall.ts";
import type { Isolation } from "../imgrec-functions.ts";
import type { BenchNode } from "../node.ts";
import type { Objects } from "../store.ts";

export const FIGURES = ["fig9", "fig10", "fig11", "fig12", "fig13", "fig14", "fig15"] as const;
/** "initscript": what the paper says of initscripts' starts and sizes in its text. */
export type Figure = (typeof FIGURES)[number] | "initscript";

/** A row of a figure: one arm compared with another. */
export interface Comparison {
	/** The row's name; the workload's own is the usual one. */
	name: string;
	/** The arm that begins with its initscript; "with" unless it is said. */
	with?: string;
	/** The paper's speedup. */
	paper?: number;
	/** The speedup that is promised. */
	at_least?: number;
	/** The promise is also kept with this efficiency. */
	or_efficiency?: number;
	/** Counts in the figure's mean, which the paper states. */
	inMean?: boolean;
}

/** A row that promises of one arm that a figure of it stays below a bound. */
export interface Limit {
	name: string;
	arm: string;
	/** The name of the figure among the samples' values; their start times where it is not said. */
	value?: string;
	/** What the paper says. */
	paper?: number;
	at_most?: number;
}

/** One start, measured. */
export interface Sample {
	/** From the caller's request to the first work on it, milliseconds. */
	ms: number;
	/** Of these what only the application can do once its bytes are there, milliseconds; of the arm "with". */
	load?: number;
	/** Other figures of this start by name, the unit in the name: "handover_ms". */
	values?: Record<string, number>;
	/** What the time went to, for the waterfall. */
	segments?: Segment[];
}

/** A workload that can be started now. */
export interface Staged {
	/** One start of each arm. It throws where the answer is not what it must be. */
	arms: Record<string, () => Promise<Sample>>;
	/** Makes the node what a start of this arm is to find. The machine is quiet again when the start begins. */
	prepare?(arm: string): Promise<void>;
	/** Sizes and the like, bytes where the name does not say otherwise. */
	facts?: Record<string, number>;
}

/** Where a workload is staged. */
export interface Site {
	bench: BenchNode;
	/** Images that are pulled through the link. */
	images: ImageStore;
	/** More servers behind links like the store's. */
	links: Links;
	/** Files that starts read. */
	keeper: Keeper;
	isolation: Isolation;
	/** Says what takes long before the first start. */
	note(text: string): void;
	/** Is done when the workload is over, the last one first. */
	defer(stop: () => Promise<void>): void;
}

export interface Workload {
	name: string;
	figures: readonly Figure[];
	rows: readonly Comparison[];
	limits?: readonly Limit[];
	/** Where it must be another than the one that is asked for. */
	isolation?: Isolation;
	/** In the order of a first round. Row figures need "without" and "with"; ideal and efficiency "setup_only" and "fetch_only", too. */
	arms: readonly string[];
	/** What the store has for it: known before the node starts. */
	objects?(): Promise<Objects>;
	/** Makes what is missing, deploys, starts servers. */
	stage(site: Site): Promise<Staged>;
}
