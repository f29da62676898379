/** The storage library in an application, with all that a node has behind it. */
import { describe, expect, test } from "vitest";
import { deployProbe, type Isolation, invoke } from "../harness/probe.ts";
import { useNode } from "../harness/suite.ts";

const isolations: Isolation[] = ["bubblewrap", "gvisor"];
/** Takes the shaped link about 0.4 s. */
const big = Buffer.alloc(30 << 20, "big ");
const gotBig = { bytes: big.length, head: "big big big big big " };
const gotA = { bytes: 13, head: "contents of a" };
const gotB = { bytes: 13, head: "contents of b" };

const node = useNode(
	async (node) => {
		for (const isolation of isolations) {
			const egress = ["inputs", "results", "nowhere"].flatMap((bucket) => [
				`GET s3://${bucket}/*`,
				`PUT s3://${bucket}/*`,
			]);
			await deployProbe(node, { name: isolation, isolation, egress, direct: true });
		}
		await node.put("inputs", "a", "contents of a");
		await node.put("inputs", "b", "contents of b");
		await node.put("inputs", "big", big);
		await node.put("inputs", "sub folder/ünï+1.txt", "contents of a");
	},
	{ devStore: "s3" },
);

describe.each(isolations)("in %s", (name) => {
	test("a stream gives the first bytes while the last are still on their way", async () => {
		await node().resetStore();
		const { steps, instance } = await invoke(node(), name, {
			// Sent when the application waits for it already.
			script: [
				["expect", 1],
				["sleep", name === "gvisor" ? 3_000 : 1_500],
				["get", "inputs", "big"],
			],
			app: [["download_stream", "inputs", "big"]],
		});
		expect(steps).toMatchObject([gotBig]);
		const [{ first }] = steps as [{ first: number }];
		expect(first).toBeGreaterThan(0);
		expect(first).toBeLessThan(big.length / 2);
		expect(await node().requests()).toEqual({ "GET inputs/big": 1 });
		const { events } = await node().ended(instance);
		const at = (wanted: string): number => events.findIndex(({ kind }) => kind === wanted);
		expect(at("served")).toBeLessThan(at("rpcDone"));
	});

	test("a stream that the bridge has to fetch is progressive, too", async () => {
		const { steps } = await invoke(node(), name, { app: [["download_stream", "inputs", "big"]] });
		const [{ first }] = steps as [{ first: number }];
		expect(steps).toMatchObject([gotBig]);
		expect(first).toBeLessThan(big.length / 2);
	});

	test("what is uploaded is in the store, byte by byte", async () => {
		await node().resetStore();
		const { steps } = await invoke(node(), name, {
			app: [
				["upload", "results", "small", "grüß dich"],
				["upload", "results", "empty", ""],
				["upload", "results", "large", "0123456789abcdef", 100_000],
				["upload_stream", "results", "in a/stream", "streamed ", 1000],
			],
		});
		expect(steps).toEqual([null, null, null, null]);
		expect(await node().get("results", "small")).toBe("grüß dich");
		expect(await node().get("results", "empty")).toBe("");
		expect(await node().get("results", "large")).toBe("0123456789abcdef".repeat(100_000));
		expect(await node().get("results", "in a/stream")).toBe("streamed ".repeat(1000));
		expect(Object.values(await node().requests())).toEqual([1, 1, 1, 1]);
	});

	test("by itself the application does the same with its own client", async () => {
		await node().resetStore();
		const event = {
			script: [["get", "inputs", "a"]],
			app: [
				["download", "inputs", "a"],
				["download_stream", "inputs", "big"],
				["upload", "results", "direct", "written directly"],
				["upload_stream", "results", "direct stream", "streamed ", 1000],
				["download", "results", "direct"],
				["download", "inputs", "sub folder/ünï+1.txt"],
				["download", "inputs", "nothing"],
				["download", "nowhere", "a"],
			],
		};
		const { steps, instance } = await invoke(node(), name, event, "mode=direct");
		expect(steps).toMatchObject([
			gotA,
			gotBig,
			null,
			null,
			{ head: "written directly" },
			gotA,
			{ error: "NotFound" },
			{ error: "NotFound" },
		]);
		expect(await node().get("results", "direct stream")).toBe("streamed ".repeat(1000));
		const agents = new Set((await node().asked()).map(({ agent }) => agent));
		expect([...agents]).toEqual(["headstart-python-direct"]);
		const { mode, script, events } = await node().ended(instance);
		expect({ mode, script }).toEqual({ mode: "direct", script: undefined });
		expect(events.filter(({ kind }) => kind === "called" || kind === "claimed")).toEqual([]);
	});
});

describe("read your writes", () => {
	test("what the initscript fetched of a key before the application wrote it is not served", async () => {
		await node().resetStore();
		await node().put("results", "out", "old");
		const { steps, instance } = await invoke(node(), "bubblewrap", {
			script: [
				["expect", 2],
				["await", "results", "out"],
				["say", "fetched", "yes"],
			],
			app: [
				["receive", "fetched"],
				["upload", "results", "out", "new"],
				["download", "results", "out"],
				["upload", "results", "out", "newer"],
				["download_stream", "results", "out"],
			],
		});
		expect(steps).toMatchObject([{ head: "yes" }, null, { head: "new" }, null, { head: "newer" }]);
		expect(await node().requests()).toEqual({ "GET results/out": 3, "PUT results/out": 2 });
		const { unclaimed } = await node().ended(instance);
		expect(unclaimed).toMatchObject([{ content: "GET s3://results/out", bytes: 3 }]);
	});

	test("nor what it fetches while the application writes", async () => {
		await node().resetStore();
		await node().put("results", "out", "old");
		await node().fault({ request: "GET results/out", kind: "slow", ms: 1_500 });
		const { steps } = await invoke(node(), "bubblewrap", {
			script: [
				["expect", 2],
				["get", "results", "out"],
				["say", "sent", "yes"],
			],
			app: [
				["receive", "sent"],
				["upload", "results", "out", "new"],
				["download", "results", "out"],
			],
		});
		expect(steps).toMatchObject([{ head: "yes" }, null, { head: "new" }]);
		expect(await node().get("results", "out")).toBe("new");
	});

	test("a write that the store refuses voids it all the same, and other keys stay", async () => {
		await node().resetStore();
		await node().put("results", "out", "old");
		await node().fault({ request: "PUT results/out", kind: "status", status: 403 });
		const { steps } = await invoke(node(), "bubblewrap", {
			script: [
				["expect", 3],
				["await", "results", "out"],
				["await", "inputs", "a"],
				["say", "fetched", "yes"],
			],
			app: [
				["receive", "fetched"],
				["upload", "results", "out", "new"],
				["download", "results", "out"],
				["download", "inputs", "a"],
			],
		});
		expect(steps).toMatchObject([{ head: "yes" }, { error: "Forbidden" }, { head: "old" }, gotA]);
		expect(await node().requests()).toEqual({
			"GET results/out": 2,
			"PUT results/out": 1,
			"GET inputs/a": 1,
		});
	});
});

describe("results that are named by a counter", () => {
	const event = {
		script: [
			["expect", 2],
			["count", 0, "inputs", "a"],
			["count", 1, "inputs", "b"],
		],
		app: [
			["count", "inputs", "a"],
			["count", "inputs", "b"],
		],
	};

	test("are the application's in the same order, without another request", async () => {
		await node().resetStore();
		const { steps, instance } = await invoke(node(), "bubblewrap", event);
		expect(steps).toMatchObject([gotA, gotB]);
		expect(await node().requests()).toEqual({ "GET inputs/a": 1, "GET inputs/b": 1 });
		const record = await node().ended(instance);
		expect(record).toMatchObject({ divergences: 0, missed: [], unclaimed: [] });
		expect(record.events.filter(({ kind }) => kind === "called")).toEqual([]);
	});

	test("in another order are divergences, and the application has the right bytes", async () => {
		await node().resetStore();
		const { steps, instance } = await invoke(node(), "bubblewrap", { ...event, app: event.app.toReversed() });
		expect(steps).toMatchObject([gotB, gotA]);
		expect(await node().requests()).toEqual({ "GET inputs/a": 2, "GET inputs/b": 2 });
		const { divergences, missed } = await node().ended(instance);
		expect(divergences).toBe(2);
		expect(missed).toMatchObject([
			{ id: "0", content: "GET s3://inputs/b", code: "diverged" },
			{ id: "1", content: "GET s3://inputs/a", code: "diverged" },
		]);
	});

	test("are not what a script says of itself under the same name", async () => {
		const { steps, instance } = await invoke(node(), "bubblewrap", {
			script: [
				["say", "GET s3://inputs/a", "contents of something else"],
				["get", "inputs", "b"],
			],
			app: [
				["download", "inputs", "a"],
				["download", "inputs", "b"],
			],
		});
		expect(steps).toMatchObject([gotA, gotB]);
		expect(await node().ended(instance)).toMatchObject({ divergences: 1, missed: [{ code: "diverged" }] });
	});

	test("are of one invocation: the next one in the warm instance has its own", async () => {
		const first = await invoke(node(), "bubblewrap", event, "");
		const second = await invoke(node(), "bubblewrap", { ...event, app: event.app.toReversed() }, "");
		expect(second.instance).toBe(first.instance);
		expect([first.steps, second.steps]).toMatchObject([
			[gotA, gotB],
			[gotB, gotA],
		]);
	});
});

describe("what is not there", () => {
	test("a key and a bucket that the store lacks are NotFound, fetched ahead or not", async () => {
		const { status, steps } = await invoke(node(), "bubblewrap", {
			script: [
				["get", "inputs", "nothing"],
				["get", "nowhere", "a"],
			],
			app: [
				["download", "inputs", "nothing"],
				["download", "nowhere", "a"],
				["download", "inputs", "nor this"],
				["download_stream", "inputs", "nothing"],
				["download_stream", "nowhere", "b"],
				["upload", "nowhere", "a", "text"],
			],
		});
		expect(status).toBe(200);
		expect(steps).toEqual(Array(6).fill({ error: "NotFound" }));
	});

	test("what the egress list lacks is egressDenied, and the store is not asked", async () => {
		await node().resetStore();
		const { steps } = await invoke(node(), "bubblewrap", {
			script: [["get", "elsewhere", "a"]],
			app: [
				["download", "elsewhere", "a"],
				["download_stream", "elsewhere", "a"],
				["upload", "elsewhere", "a", "text"],
			],
		});
		expect(steps).toEqual(Array(3).fill({ error: "egressDenied" }));
		expect(await node().requests()).toEqual({});
	});

	test("a key with spaces, signs and letters of other languages is one and the same on both sides", async () => {
		await node().resetStore();
		const { steps, instance } = await invoke(node(), "bubblewrap", {
			script: [["get", "inputs", "sub folder/ünï+1.txt"]],
			app: [["download", "inputs", "sub folder/ünï+1.txt"]],
		});
		expect(steps).toMatchObject([gotA]);
		expect(await node().requests()).toEqual({ "GET inputs/sub%20folder/%C3%BCn%C3%AF%2B1.txt": 1 });
		expect((await node().ended(instance)).missed).toEqual([]);
	});
});
