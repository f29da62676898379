/** Every SDK's build of the conformance script, against the node: what the application gets of it, and what is recorded. */
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { ERROR_CODES } from "../../src/shared/generated/errors.ts";
import { askClient, deployClient, type ProbeAnswer } from "../harness/clients.ts";
import { CONFORMANCE_FILES, EXPECTED_ERRORS } from "../harness/conformance.ts";
import { LineServer } from "../harness/line-server.ts";
import type { Isolation } from "../harness/probe.ts";
import { useNode } from "../harness/suite.ts";

const scripts = join(import.meta.dirname, "../../initscripts/conformance");
/** Each in bubblewrap, and one where connections are spliced, too. */
const functions = [
	...CONFORMANCE_FILES.map((file) => ({ file, isolation: "bubblewrap" as Isolation })),
	{ file: "calls.c" as const, isolation: "gvisor" as Isolation },
].map((it) => ({ ...it, name: `${it.file.replaceAll(/^calls\.|\./g, "")}-${it.isolation}` }));
const x = "the contents of x";
const large = 300_000;
const server = new LineServer();

const node = useNode(async (node) => {
	await server.listen();
	const egress = ["GET s3://inputs/*", server.address];
	for (const { file, isolation, name } of functions) {
		const app = { files: { "/tmp/shared": { size: "8KiB" } } };
		await deployClient(node, "c", isolation, { name, egress, app, initscript: join(scripts, file) });
	}
	await deployClient(node, "c", "bubblewrap", { name: "steps" });
	await node.put("inputs", "x", x);
	await node.put("inputs", "a b/é!.png", "a photo");
});

afterAll(() => server.close());

/** What the application's probe says of bytes that it received. */
function received(text: string, status = 0): string {
	const bytes = Buffer.from(text);
	return `ok ${bytes.length} ${bytes.reduce((sum, byte) => sum + byte, 0)} ${status} whole`;
}

describe.each(functions)("$name", ({ file, name }) => {
	const ask = async (mode: string, steps: (string | number)[][]): Promise<ProbeAnswer> =>
		askClient(node(), name, steps, { mode, address: server.address });

	test("replies and messages reach the application", async () => {
		await node().resetStore();
		const photo = "GET s3://inputs/a%20b/%C3%A9%21.png";
		const { lines, instance } = await ask("fetch", [
			["recv", "#6", "", "whole", 5000],
			["recv", "#5", "", "whole", 5000],
			["recv", "#7", "", "whole", 5000],
			["recv", photo, photo, "whole", 5000],
			["recv", "#6", "", "whole", 5000],
		]);
		expect(lines).toEqual([
			received(x, 200),
			received(x.slice(1)),
			expect.stringMatching(/^ok [1-9]/),
			received("a photo", 200),
			"error alreadyClaimed",
		]);
		expect(await node().requests()).toEqual({ "GET inputs/x": 1, "GET inputs/a%20b/%C3%A9%21.png": 1 });
		const { script, scriptLines, unclaimed, recording } = await node().ended(instance);
		expect({ end: script?.end, unclaimed }).toEqual({ end: "exit 0", unclaimed: [] });
		// What the suite replays after each test.
		expect(recording?.steps.flatMap(({ effects }) => effects)).toContain("scriptEnded");
		expect(scriptLines).toMatchObject([{ level: "info", text: "done" }]);
	});

	test("a reply is received in a file of the application's, and no other reply in its place", async () => {
		const { lines, instance } = await ask("place", [
			["recv", "GET s3://inputs/x", "", "whole", 5000],
			["recv", "#1", "", "whole", 5000],
		]);
		expect(lines).toEqual([
			`${received(x, 200)} at 4096 of /tmp/shared`,
			expect.stringMatching(/^error alreadyExists/),
		]);
		expect((await node().ended(instance)).script?.end).toBe("exit 0");
	});

	test.each([0, 7, large])("a message of %i bytes goes to the script and back", async (bytes) => {
		const { lines, instance } = await ask("echo", [
			["send", "question", bytes],
			["recv", "answer", "", "whole", 5000],
			["send", "question", 1],
		]);
		expect(lines).toEqual(["ok", `ok ${bytes} ${bytes * 109} 0 whole`, "error messageDuplicate"]);
		expect((await node().ended(instance)).script?.end).toBe("exit 0");
	});

	test("a connection that the script has used is the application's", async () => {
		const before = server.connections;
		const kind = name.endsWith("gvisor") ? 2 : 1;
		const { lines, instance } = await ask("hand over", [
			["conn", "#1", server.address, "hello"],
			["conn", "#1", server.address, "again"],
		]);
		expect(lines).toEqual([`ok ${kind} 2 hello`, "error alreadyClaimed"]);
		expect(server.connections - before).toBe(1);
		expect(await node().ended(instance)).toMatchObject({ script: { end: "exit 0" }, unclaimed: [] });
	});

	test("a connection of the application's is the script's", async () => {
		const before = server.connections;
		const { lines, instance } = await ask("take over", [
			["pass", "#1", server.address, "#2"],
			["recv", "said", "", "whole", 5000],
		]);
		expect(lines).toEqual(["ok", received("1 taken")]);
		expect(server.connections - before).toBe(1);
		expect(await node().ended(instance)).toMatchObject({ script: { end: "exit 0" }, unclaimed: [] });
	});

	test("one that nobody takes is waste", async () => {
		const { instance } = await ask("hand over", [["recv", "nothing", "", "whole", 1000]]);
		expect((await node().ended(instance)).unclaimed).toMatchObject([{ id: "1", content: server.address }]);
	});

	test("wrong calls fail, each with its error, and the script goes on", async () => {
		const { lines, instance } = await ask("fail", [
			["recv", "empty", "", "whole", 5000],
			["recv", "errors", "", "whole", 5000],
		]);
		const numbers = EXPECTED_ERRORS.map((code) => (ERROR_CODES as readonly string[]).indexOf(code));
		const told = file === "calls.ts" ? EXPECTED_ERRORS : numbers;
		expect(lines).toEqual([received(""), received(told.join(" "))]);
		const { script, scriptLines } = await node().ended(instance);
		expect(script?.end).toBe("exit 0");
		const faults = scriptLines.map(({ text }) => text.split(":")[0]);
		expect(faults).toEqual(["messageDuplicate"]);
	});

	test("ends with its own status, by itself or in a trap", async () => {
		const { instance } = await ask("exit", []);
		expect((await node().ended(instance)).script).toMatchObject({
			end: "exit 3",
			error: { code: "initscriptFailed" },
		});
		const trapped = await ask("trap", []);
		expect((await node().ended(trapped.instance)).script).toMatchObject({
			end: "trap",
			error: { code: "initscriptTrapped" },
		});
	});
});

describe("an initscript that waits for its application", () => {
	const ask = (steps: (string | number)[][], script: unknown[][]): Promise<ProbeAnswer> =>
		askClient(node(), "steps", steps, script);

	test("is not waited for: a claim that it has not announced is missed at once", async () => {
		const began = Date.now();
		const { lines } = await ask(
			[
				["recv", "something else", "", "whole", 5000],
				["send", "question", 3],
				["recv", "answer", "", "whole", 5000],
			],
			[["receive", "question", "answer"]],
		);
		expect(lines).toEqual(["error miss", "ok", received(`3 ${3 * 109}`)]);
		expect(Date.now() - began).toBeLessThan(3000);
	});
});
