/**
 * Figure 15: imgrec-py from snapshot. Each start goes on from a function that has its network loaded, fetches a photo of 10 MB,
 * and stores the result. Neither arm has a client of its own: without its initscript the function has the bridge do its calls.
 */
import type { TraceEvent } from "../../src/shared/record.ts";
import { LABELS } from "../imgrec-functions.ts";
import { deploySnapshot, snapshotEvent, snapshotObjects } from "../imgrec-snapshot-functions.ts";
import type { How } from "../invoke.ts";
import { appCalls, fetchMs, loadMs, startMs } from "../timeline.ts";
import type { Sample, Site, Staged, Workload } from "./workload.ts";

const NAME = "imgrec-snapshot";
const SETUP = `${NAME}-setup`;

export const IMGREC_SNAPSHOT: Workload = {
	name: NAME,
	figures: ["fig15"],
	rows: [{ name: NAME, paper: 1.48, at_least: 1.5 }],
	// Of gVisor only are there snapshots.
	isolation: "gvisor",
	arms: ["without", "with", "setup_only", "fetch_only"],
	objects: snapshotObjects,
	stage,
};

async function stage({ bench: { store, client, invoker }, note }: Site): Promise<Staged> {
	const { initscript } = await deploySnapshot(client, store.endpoint);
	await deploySnapshot(client, store.endpoint, { name: SETUP, handler: "setup_only" });
	const event = snapshotEvent(store.endpoint, store, "result.json");
	note("making the snapshots, which no start is to wait for");
	for (const name of [NAME, SETUP]) await invoker.start(name, event);
	const arm = (how: How) => async (): Promise<Sample> => {
		const { answer, events } = await invoker.start(NAME, event, how);
		check(answer, events, how);
		return { ms: startMs(events), load: loadMs(events) };
	};
	return {
		arms: {
			without: arm({ noInitscript: true }),
			with: arm({}),
			setup_only: async () => {
				const { events } = await invoker.start(SETUP, event, { noInitscript: true });
				return { ms: startMs(events) };
			},
			fetch_only: async () => {
				const { events } = await invoker.start(NAME, event, { scriptOnly: true });
				return { ms: fetchMs(events) };
			},
		},
		facts: { initscript_bytes: initscript?.bytes ?? 0 },
	};
}

/** The right answer; with the initscript also that it came without a call of the function's own. */
function check(answer: unknown, events: readonly TraceEvent[], { noInitscript }: How): void {
	const label = typeof answer === "object" && answer !== null && "label" in answer ? answer.label : undefined;
	if (!LABELS.includes(label)) throw new Error(`it took the photo of a cat for ${JSON.stringify(answer)}`);
	const calls = appCalls(events);
	if (calls !== (noInitscript ? 2 : 0)) throw new Error(`the function had the bridge do ${calls} calls`);
	if (events.some(({ kind, text }) => kind === "noted" && text?.startsWith("snapshot of")))
		throw new Error("the start waited for a snapshot");
}
