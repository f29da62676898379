/** Figure 10: imgrec-py. Its queue stands behind a link of its own, and the results go to the store behind the store's link. */
import { moto } from "../../setup/steps/moto.ts";
import type { TraceEvent } from "../../src/shared/record.ts";
import { LABELS, objects } from "../imgrec-functions.ts";
import { egressOf, keepQueueSecret, QUEUE, queueEnv, taskFor } from "../imgrec-py-functions.ts";
import { QueueService } from "../queue.ts";
import { asked, BYTES_READY, first, INFERENCE_BEGINS, IncompleteTimeline } from "../timeline.ts";
import { stageFunction } from "./functions.ts";
import type { Site, Staged, Workload } from "./workload.ts";

const NAME = "imgrec-py";
const PHOTO = "chelsea.png";
/** Beside nice's least: the queue stands for another machine. */
const NICE = 19;

export const IMGREC_PY: Workload = {
	name: NAME,
	figures: ["fig10"],
	rows: [{ name: NAME, paper: 1.81, at_least: 1.8, or_efficiency: 0.95, inMean: true }],
	arms: ["without", "with", "setup_only", "fetch_only", "present_without", "present_with"],
	// The store has a bucket that has an object.
	objects: async () => ({ ...objects(), "results/first.json": 0 }),
	stage,
};

async function stage(site: Site): Promise<Staged> {
	const { store, client } = site.bench;
	if (!(await moto.done())) {
		site.note(`installing ${moto.name}, once: ${moto.cost.downloadMb} MB`);
		await moto.run();
	}
	const service = await QueueService.start({ sink: () => undefined, nice: NICE });
	site.defer(() => service.stop());
	const link = await site.links.to(service.endpoint.replace("http://", ""));
	const queue = service.secret(`http://${link}`);
	await keepQueueSecret(client, queue);
	const places = { store, queue, output: store.endpoint };
	await service.create(QUEUE);
	return stageFunction(site, {
		name: NAME,
		app: NAME,
		event: { queue: QUEUE },
		env: queueEnv(queue),
		egress: egressOf(places.output),
		// One task, whatever the start before left claimed: an initscript alone does none.
		async prepare() {
			await service.remove(QUEUE);
			await service.create(QUEUE);
			await service.send(QUEUE, JSON.stringify(taskFor(places, PHOTO, "result.json")));
		},
		startOf,
		loadOf,
		check: checkAnswer,
	});
}

/** Until the application begins inference; in `setup_only`, which never does, until it has its event. */
export function startOf(events: readonly TraceEvent[]): { zero: number; end: number } {
	const end = has(events) ? mark(events, INFERENCE_BEGINS) : first(events, "invocationTaken").at;
	return { zero: asked(events).at, end };
}

export function loadOf(events: readonly TraceEvent[]): number {
	return has(events) ? (mark(events, INFERENCE_BEGINS) - mark(events, BYTES_READY)) / 1e6 : 0;
}

/** Whether the application has had its bytes. */
function has(events: readonly TraceEvent[]): boolean {
	return events.some(({ kind, text }) => kind === "mark" && text?.startsWith(BYTES_READY));
}

function mark(events: readonly TraceEvent[], begin: string): number {
	const found = events.find(({ kind, text }) => kind === "mark" && text?.startsWith(begin));
	if (found === undefined) throw new IncompleteTimeline(`no "${begin}" on the timeline`);
	return found.at;
}

export function checkAnswer(answer: unknown): void {
	const label = typeof answer === "object" && answer !== null && "label" in answer ? answer.label : undefined;
	if (!LABELS.includes(label)) throw new Error(`it took the photo of a cat for ${JSON.stringify(answer)}`);
}
