import { expect, test } from "vitest";
import { until } from "../../src/cli/node/wait.ts";
import { deployProbe, invoke } from "../harness/probe.ts";
import { runners } from "../harness/processes.ts";
import { useNode } from "../harness/suite.ts";

const CONTENT = "weights ".repeat(100_000);

const node = useNode(async (node) => {
	await node.put("inputs", "weights", CONTENT);
	await node.put("results", "state", "before");
	const share = { allow: ["GET s3://inputs/*", "GET s3://results/*"] };
	for (const isolation of ["bubblewrap", "gvisor"] as const)
		await deployProbe(node, { name: `at-once-${isolation}`, isolation, share });
	await deployProbe(node, { name: "fresh", isolation: "bubblewrap", share: { ...share, ttl: "3s" } });
	await deployProbe(node, { name: "alone", isolation: "bubblewrap" });
});

/** The application comes when all scripts have asked, also on a busy machine. */
const weights = {
	script: [["get", "inputs", "weights"]],
	app: [
		["sleep", 1],
		["download", "inputs", "weights"],
	],
};
const got = { head: CONTENT.slice(0, 20) };

test.each(["bubblewrap", "gvisor"])(
	"starts at one time fetch what they share once (%s)",
	async (isolation) => {
		await node().resetStore();
		// All of them have asked by then.
		await node().fault({ request: "GET inputs/weights", kind: "slow", ms: 3_000 });
		const starts = Array.from({ length: 5 }, () => invoke(node(), `at-once-${isolation}`, weights));
		const answers = await Promise.all(starts);
		for (const { status, steps } of answers) {
			expect(status).toBe(200);
			expect(steps[1]).toMatchObject(got);
		}
		expect(await node().requests()).toEqual({ "GET inputs/weights": 1 });
		const records = await Promise.all(answers.map(({ instance }) => node().ended(instance)));
		const shared = records.filter(({ events }) => events.some(({ kind }) => kind === "rpcShared"));
		expect(shared).toHaveLength(4);
		for (const { events } of shared) expect(events.some(({ kind }) => kind === "rpcSent")).toBe(false);
	},
);

test("without a section each fetches for itself", async () => {
	await node().resetStore();
	await Promise.all([invoke(node(), "alone", weights), invoke(node(), "alone", weights)]);
	expect(await node().requests()).toEqual({ "GET inputs/weights": 2 });
});

test("a reply is shared for its ttl, unless the application writes", async () => {
	await node().resetStore();
	const state = { script: [["get", "results", "state"]], app: [["download", "results", "state"]] };
	const read = async (): Promise<unknown> => (await invoke(node(), "fresh", state)).steps[0];
	expect(await read()).toMatchObject({ head: "before" });
	expect(await read()).toMatchObject({ head: "before" });
	expect(await node().requests()).toEqual({ "GET results/state": 1 });
	await invoke(node(), "fresh", { app: [["upload", "results", "state", "after"]] });
	expect(await read()).toMatchObject({ head: "after" });
	expect(await node().requests()).toMatchObject({ "GET results/state": 2 });
	await new Promise((resolve) => setTimeout(resolve, 3_100));
	expect(await read()).toMatchObject({ head: "after" });
	expect(await node().requests()).toMatchObject({ "GET results/state": 3 });
});

test("a runner that dies under the first of them does not take the others' reply", async () => {
	await node().resetStore();
	await node().fault({ request: "GET inputs/weights", kind: "slow", ms: 1_500 });
	const first = invoke(node(), "at-once-bubblewrap", weights);
	await until("its fetch", 5_000, async () => (await node().requests())["GET inputs/weights"]);
	const second = invoke(node(), "at-once-bubblewrap", weights);
	for (const pid of await runners(node().node.run)) process.kill(pid, "SIGKILL");
	for (const { status, steps } of await Promise.all([first, second])) {
		expect(status).toBe(200);
		expect(steps[1]).toMatchObject(got);
	}
});
