import { expect, it } from "vitest";
import type { Progress } from "../progress.ts";
import type { Sample, Site, Workload } from "../workloads/workload.ts";
import { measure, startsOf } from "./measure.ts";

const line: Progress = {
	step: () => undefined,
	quiet: async () => undefined,
	note: () => undefined,
	done: () => undefined,
};
const site = { isolation: "gvisor" } as Site;

function workload(arms: Record<string, () => Promise<Sample>>, ended: string[] = []): Workload {
	return {
		name: "w",
		figures: ["fig9"],
		rows: [{ name: "w", paper: 1.5, at_least: 1.2 }],
		limits: [{ name: "bound", arm: "with", at_most: 60 }],
		arms: ["without", "with"],
		async stage({ defer }) {
			defer(async () => void ended.push("server"));
			defer(async () => void ended.push("link"));
			return { arms };
		},
	};
}

const stop = { requested: false, release: () => undefined };

it("measures arms in turn, throws the warm-up away, and ends what was started, the last first", async () => {
	const order: string[] = [];
	const ended: string[] = [];
	const arm = (name: string, ms: number) => async () => {
		order.push(name);
		return { ms };
	};
	const measured = workload({ without: arm("a", 100), with: arm("b", 50) }, ended);
	const rows = await measure(measured, site, { runs: 2, stop, line, quiet: true });
	expect(order.join("")).toBe("abbaab");
	expect(order).toHaveLength(startsOf(measured, 2));
	expect(rows).toMatchObject([
		{ workload: "w", runs: 2, speedup: 2, reached: true },
		{ workload: "bound", p50: 50, reached: true },
	]);
	expect(ended).toEqual(["link", "server"]);
});

it("tells why a workload could not be measured, in each of its rows", async () => {
	const broken = async (): Promise<Sample> => {
		throw new Error("no answer");
	};
	const ended: string[] = [];
	const rows = await measure(workload({ without: broken, with: broken }, ended), site, {
		runs: 2,
		stop,
		line,
		quiet: false,
	});
	expect(rows).toEqual([
		{
			workload: "w",
			figures: ["fig9"],
			error: "without: no answer",
			paper: 1.5,
			at_least: 1.2,
			reached: false,
		},
		{
			workload: "bound",
			figures: ["fig9"],
			error: "without: no answer",
			paper: null,
			at_least: null,
			reached: false,
		},
	]);
	expect(ended).toEqual(["link", "server"]);
});

it("keeps what was measured before it was stopped", async () => {
	const asked = { requested: false, release: () => undefined };
	let starts = 0;
	const start = async (): Promise<Sample> => {
		starts++;
		if (starts === 4) asked.requested = true;
		return { ms: 10 * starts };
	};
	const rows = await measure(workload({ without: start, with: start }), site, {
		runs: 5,
		stop: asked,
		line,
		quiet: false,
	});
	expect(starts).toBe(4);
	expect(rows).toMatchObject([
		{ workload: "w", runs: 1, interrupted: true },
		{ workload: "bound", interrupted: true },
	]);
});

it("has no row of a workload that was stopped before there was anything to tell", async () => {
	const asked = { requested: true, release: () => undefined };
	const rows = await measure(workload({}), site, { runs: 5, stop: asked, line, quiet: false });
	expect(rows).toEqual([]);
});

it("prepares the node for each start, before the machine is quiet", async () => {
	const order: string[] = [];
	const arm = (name: string) => async () => {
		order.push(name);
		return { ms: 1 };
	};
	const measured: Workload = {
		...workload({}),
		stage: async () => ({
			arms: { without: arm("without"), with: arm("with") },
			prepare: async (name) => void order.push(`prepared for ${name}`),
		}),
	};
	const quiet = { ...line, quiet: async () => void order.push("quiet") };
	await measure(measured, site, { runs: 0, stop, line: quiet, quiet: true });
	expect(order).toEqual(["prepared for without", "quiet", "without", "prepared for with", "quiet", "with"]);
});
