/** Runs workloads of the paper's evaluation, one after the other on one node, and gives their rows. */
import { join } from "node:path";
import { built, inRoot, program, workerd } from "../../src/cli/paths.ts";
import type { BinaryTable } from "../binary/tables.ts";
import type { Isolation } from "../imgrec-functions.ts";
import { withNode } from "../node.ts";
import { progress } from "../progress.ts";
import type { Stop } from "../stop.ts";
import type { Objects } from "../store.ts";
import type { Workload } from "../workloads/workload.ts";
import { ImageStore } from "./images.ts";
import { Keeper } from "./keeper.ts";
import { LINK, Links } from "./links.ts";
import { type Machine, machine } from "./machine.ts";
import { meansOf } from "./means.ts";
import { measure, startsOf } from "./measure.ts";
import { startRegistry } from "./registry.ts";
import type { AnyRow } from "./row.ts";

export interface EvaluationOptions {
	runs: number;
	isolation: Isolation;
	stop: Stop;
	/** Whether each start waits until the machine is quiet. */
	quiet: boolean;
}

/** What `--json` prints. */
export interface Evaluation {
	machine: Machine;
	link: typeof LINK;
	workloads: AnyRow[];
	/** Tables 4 and 5, where they were asked for. */
	tables?: BinaryTable[];
	interrupted?: true;
}

/** What starts run, and what they are served by. */
const PROGRAMS = [
	...["/usr/bin/runsc", "/usr/bin/bwrap", "/usr/bin/docker-registry", workerd],
	...(["native-bridge", "headstart-store", "headstart-link"] as const).map(program),
	...[inRoot("dist"), join(built, "assets")],
];

/** What each workload has measured is kept, whatever becomes of the others. */
export async function evaluate(
	workloads: readonly Workload[],
	options: EvaluationOptions,
): Promise<Evaluation> {
	const { runs, stop, isolation } = options;
	const rows: AnyRow[] = [];
	const total = workloads.reduce((sum, workload) => sum + startsOf(workload, runs), 0);
	const line = progress(total);
	const links = new Links();
	line.note(`${workloads.length} workloads, ${isolation}, ${runs} runs, ${total} starts; starting a node`);
	const registry = await startRegistry();
	const keeper = new Keeper();
	try {
		const host = await links.to(registry.address, "127.0.0.1");
		const registries = [host, registry.address].map((place) => ({ host: place, plain: true }));
		const objects: Objects = {};
		for (const workload of workloads) Object.assign(objects, await workload.objects?.());
		await withNode({ devStore: "s3", objects, images: { registries } }, async (bench) => {
			const note = (text: string): void => line.note(text);
			const store = new ImageStore(registry, host, `${bench.node.run}/bridge.sock`, keeper, note);
			const site = { bench, images: store, links, keeper, isolation, note, defer: () => undefined };
			await keeper.keep([...PROGRAMS, bench.storeDir]);
			for (const workload of workloads) {
				if (stop.requested) break;
				rows.push(...(await measure(workload, site, { ...options, line })));
			}
		});
	} finally {
		line.done();
		await links.stop();
		await registry.stop();
		await keeper.stop();
	}
	return {
		machine: await machine(),
		link: LINK,
		workloads: [...rows, ...meansOf(workloads, rows)],
		...(stop.requested ? { interrupted: true } : {}),
	};
}
