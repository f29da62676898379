import { expect, test } from "vitest";
import { deployProbe, invoke } from "../harness/probe.ts";
import { useNode } from "../harness/suite.ts";

const node = useNode(async (node) => {
	await deployProbe(node, { name: "warm", isolation: "bubblewrap" });
	await deployProbe(node, { name: "changing", isolation: "bubblewrap" });
	await node.put("inputs", "a", "contents of a");
	await node.put("inputs", "b", "contents of b");
});

test("a second invocation finds the instance warm, and gets its own results", async () => {
	const event = (key: string) => ({ script: [["get", "inputs", key]], app: [["download", "inputs", key]] });
	const first = await invoke(node(), "warm", event("a"), "");
	const second = await invoke(node(), "warm", event("b"), "");
	const third = await invoke(node(), "warm", event("a"), "");
	expect(second.instance).toBe(first.instance);
	expect(third.process).toBe(first.process);
	expect([first, second, third].map(({ steps }) => steps)).toMatchObject([
		[{ head: "contents of a" }],
		[{ head: "contents of b" }],
		[{ head: "contents of a" }],
	]);
});

test("an object that changed between two invocations is read anew", async () => {
	const event = { script: [["get", "inputs", "c"]], app: [["download", "inputs", "c"]] };
	await node().put("inputs", "c", "one");
	expect((await invoke(node(), "warm", event, "")).steps).toMatchObject([{ head: "one" }]);
	await node().put("inputs", "c", "two");
	expect((await invoke(node(), "warm", event, "")).steps).toMatchObject([{ head: "two" }]);
});

test("cold=1 starts a fresh instance", async () => {
	const warm = await invoke(node(), "warm", {}, "");
	const cold = await invoke(node(), "warm", {});
	expect(cold.instance).not.toBe(warm.instance);
	expect((await node().ended(cold.instance)).state).toBe("ended");
});

test("a deployment during an invocation leaves it be; the next one runs the new application", async () => {
	const running = invoke(
		node(),
		"changing",
		{
			app: [
				["sleep", 2],
				["echo", "old"],
			],
		},
		"",
	);
	await new Promise((resolve) => setTimeout(resolve, 700));
	await deployProbe(node(), {
		name: "changing",
		isolation: "bubblewrap",
		files: { "function.py": "def handler(event):\n    return {'steps': ['new']}\n" },
	});
	const next = await invoke(node(), "changing", {}, "");
	expect(next.steps).toEqual(["new"]);
	const old = await running;
	expect(old.steps).toEqual([null, "old"]);
	expect(old.instance).not.toBe(next.instance);
});
