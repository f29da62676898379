/** The suite that every client passes, whatever its language (test/functions/clients). */
import { afterAll, describe, expect, test } from "vitest";
import { askClient, deployClient, languages, type ProbeAnswer } from "../harness/clients.ts";
import { LineServer } from "../harness/line-server.ts";
import type { Isolation } from "../harness/probe.ts";
import { useNode } from "../harness/suite.ts";

const isolations: Isolation[] = ["bubblewrap", "gvisor"];
const clients = languages.flatMap((language) => isolations.map((isolation) => `${language}-${isolation}`));

const big = Buffer.alloc(5 << 20, "big ");
const small = Buffer.alloc(3 << 10, "s");
const huge = "#18446744073709551615";
const [A, B, BIG, SMALL] = [
	"GET s3://inputs/a",
	"GET s3://inputs/b",
	"GET s3://inputs/big",
	"GET s3://inputs/small",
];

/** What a probe says of bytes. */
function bytes(data: Uint8Array | string, status = 0, how = "whole"): string {
	const all = Buffer.from(data);
	return `ok ${all.length} ${all.reduce((sum, byte) => sum + byte, 0)} ${status} ${how}`;
}

const server = new LineServer();

const node = useNode(
	async (node) => {
		await server.listen();
		const egress = ["GET s3://inputs/*", "PUT s3://results/*", server.address];
		const app = { files: { "/var/cache/shared": { size: "10MiB" } } };
		for (const language of languages) {
			for (const isolation of isolations) await deployClient(node, language, isolation, { egress, app });
		}
		await node.put("inputs", "a", "contents of a");
		await node.put("inputs", "b", "contents of b");
		await node.put("inputs", "big", big);
		await node.put("inputs", "small", small);
		await node.put("inputs", "empty", "");
	},
	{ devStore: "s3" },
);

afterAll(() => server.close());

describe.each(clients)("%s", (name) => {
	const ask = (steps: (string | number)[][], script?: unknown[][], query?: string): Promise<ProbeAnswer> =>
		askClient(node(), name, steps, script, query);

	test("receives messages of every size, by names, hashes and huge numbers", async () => {
		const { status, lines } = await ask(
			[
				["recv", SMALL, SMALL, "whole", 5000],
				["recv", BIG, BIG, "whole", 5000],
				["recv", "said", "", "whole", 5000],
				["recv", huge, "", "whole", 5000],
				["recv", "#0", "", "whole", 5000],
				["recv", "long", "", "whole", 5000],
				["recv", "empty", "", "whole", 5000],
			],
			[
				["expect", 7],
				["get", "inputs", "small"],
				["get", "inputs", "big"],
				["say", "said", "hello", 1],
				["say", huge, "huge", 1],
				["say", "#0", "", 0],
				["say", "long", "0123456789", 5000],
				["reply", "empty", "inputs", "empty"],
			],
		);
		expect({ status, lines }).toEqual({
			status: 200,
			lines: [
				bytes(small, 200),
				bytes(big, 200),
				bytes("hello"),
				bytes("huge"),
				bytes(""),
				bytes("0123456789".repeat(5000)),
				bytes("", 200),
			],
		});
	});

	test("finds a reply in a file of the application's", async () => {
		const { lines } = await ask(
			[
				["recv", SMALL, SMALL, "whole", 5000],
				["recv", BIG, BIG, "progressive", 10_000],
			],
			[
				["expect", 2],
				["get", "inputs", "small", "file:/var/cache/shared", 4, 4096],
				["get", "inputs", "big", "file:/var/cache/shared", 4 << 20],
			],
		);
		const [first, second] = lines;
		expect(first).toBe(`${bytes(small, 200)} at 4 of /var/cache/shared`);
		expect(second?.replace(/ (early|whole) /, " ")).toBe(
			`${bytes(big, 200).replace("whole", "at")} ${4 << 20} of /var/cache/shared`,
		);
	});

	test("reads a message while its bytes still come", async () => {
		const { lines } = await ask(
			[["recv", BIG, BIG, "progressive", 10_000]],
			[
				["expect", 1],
				// Sent when the application waits for it already; the link takes 100 ms.
				["sleep", 1500],
				["get", "inputs", "big"],
			],
		);
		expect(lines).toEqual([bytes(big, 200, "early")]);
	});

	test("tells a miss, a divergence, a second claim and a deadline apart", async () => {
		const { lines } = await ask(
			[
				["recv", A, A, "whole", 5000],
				["recv", A, A, "whole", 5000],
				["recv", B, A, "whole", 5000],
				["recv", "never", "", "whole", 150],
				["recv", "unknown", "", "whole", 5000],
			],
			[
				["expect", 3],
				["get", "inputs", "a"],
				["get", "inputs", "b"],
				["sleep", 1000],
			],
		);
		expect(lines).toEqual([
			bytes("contents of a", 200),
			"error alreadyClaimed",
			"error diverged",
			expect.stringMatching(/^error (deadline|miss)$/),
			expect.stringMatching(/^error (miss|deadline)$/),
		]);
	});

	test("has the bridge do calls, with bodies of every size", async () => {
		const { lines } = await ask([
			["call", A, 0],
			["call", "GET s3://inputs/nothing", 0],
			["call", "GET s3://private/x", 0],
			["call", "PUT s3://results/put", 5 << 20],
			["call", "PUT s3://results/put0", 0],
			["call", "no request", 0],
		]);
		expect(lines.slice(0, 3)).toEqual([
			bytes("contents of a", 200),
			expect.stringMatching(/^ok \d+ \d+ 404 whole$/),
			"error egressDenied",
		]);
		expect(lines.slice(3, 5)).toEqual([bytes("", 200), bytes("", 200)]);
		expect(lines[5]).toMatch(/^error (invalidArgument|egressDenied|unsupported)$/);
		expect((await node().get("results", "put")).length).toBe(5 << 20);
	});

	test("takes events of every size and reads them right", async () => {
		for (const size of [0, 1, 3 << 10, 5 << 20]) {
			const steps = size === 0 ? [["event"]] : [["event"], ["mark", "m".repeat(10)], ["#".repeat(size)]];
			const body = [JSON.stringify({ script: [] }), "---", ...steps.map((step) => step.join("\t"))].join(
				"\n",
			);
			const { lines } = await ask(steps, [], size === 0 ? "cold=1" : "");
			const data = Buffer.from(body);
			expect(lines[0]).toBe(`ok ${data.length} ${data.reduce((sum, byte) => sum + byte, 0)}`);
		}
	});

	test("takes an event of no bytes", async () => {
		const answer = await node().client.send(`/v1/functions/${name}/invocations?cold=1`, { method: "POST" });
		expect({ status: answer.status, body: await answer.text() }).toEqual({ status: 200, body: "" });
	});

	test("answers with bytes of every size, and with a status", async () => {
		for (const size of [0, 1, 3 << 10, 5 << 20]) {
			const { status, body } = await ask([["answer", size]], [], size === 0 ? "cold=1" : "");
			expect({ status, size: body.length, other: body.replaceAll("x", "") }).toEqual({
				status: 200,
				size,
				other: "",
			});
		}
		expect(await ask([["event"], ["status", 418]], [], "")).toMatchObject({
			status: 418,
			lines: [expect.any(String)],
		});
	});

	test("fails and goes on", async () => {
		const { status, body } = await ask([["fail", "no such luck"]]);
		expect({ status, code: JSON.parse(body).code }).toEqual({ status: 502, code: "functionFailed" });
		expect(await ask([["event"]], [], "")).toMatchObject({ status: 200, lines: [expect.any(String)] });
	});

	test("receives in eight threads at once", async () => {
		const said = Array.from({ length: 8 }, (_, at) => ["say", `t${at}`, "x".repeat(100), 100]);
		const { lines } = await ask([["threads", 8, "t"]], [["expect", 8], ["sleep", 300], ...said]);
		expect(lines).toEqual(["ok 8"]);
	});

	const forks = name.startsWith("node") ? [] : [name]; // Node has no fork(2)
	test.each(forks)("goes on after a fork, in the child and in the parent (%s)", async () => {
		const { lines } = await ask(
			[
				["recv", "first", "", "whole", 5000],
				["fork", "child", "parent"],
			],
			[
				["expect", 3],
				["say", "first", "1", 5000],
				["say", "child", "22", 5000],
				["say", "parent", "333", 5000],
			],
		);
		expect(lines).toEqual([bytes("1".repeat(5000)), bytes("2".repeat(10_000)), bytes("3".repeat(15_000))]);
	});

	test("gives memory back", async () => {
		const { lines } = await ask([["churn", BIG, 10]]);
		expect(lines).toEqual(["ok 10"]);
	});

	test("marks the timeline", async () => {
		const { lines, instance } = await ask([["mark", "half way"]]);
		expect(lines).toEqual(["ok"]);
		const { events } = await node().ended(instance);
		expect(events).toContainEqual(expect.objectContaining({ kind: "mark", text: "half way" }));
	});

	test("sends messages of every size to its initscript", async () => {
		const sizes = [0, 1, 3 << 10, 1 << 20];
		const { lines } = await ask(
			[
				...sizes.flatMap((size) => [
					["send", `up${size}`, size],
					["recv", `got${size}`, "", "whole", 5000],
				]),
				["send", "up1", 1],
				["send", "too much", (1 << 20) + 1],
			],
			[["expect", sizes.length], ...sizes.map((size) => ["receive", `up${size}`, `got${size}`])],
		);
		expect(lines).toEqual([
			...sizes.flatMap((size) => ["ok", bytes(`${size} ${size * "m".charCodeAt(0)}`)]),
			"error messageDuplicate",
			"error payloadTooLarge",
		]);
	});

	test("takes a connection that its initscript has used, and no other twice", async () => {
		const { address } = server;
		const { lines } = await ask(
			[
				["conn", "c1", address, "from the application"],
				["conn", "c1", address, "again"],
				["conn", "never", address, "nobody hears"],
			],
			[
				["expect", 1],
				["transfer", "c1", `${address}?frame=line`, "from the script"],
			],
		);
		const kind = name.endsWith("gvisor") ? 2 : 1;
		expect(lines).toEqual([
			`ok ${kind} 2 from the application`,
			"error alreadyClaimed",
			expect.stringMatching(/^error (miss|deadline)$/),
		]);
	});

	test("hands a connection back to its initscript", async () => {
		const { address } = server;
		const { lines } = await ask(
			[
				["pass", "c1", address, "c2"],
				["recv", "said", "", "whole", 5000],
			],
			[
				["expect", 2],
				["transfer", "c1", `${address}?frame=line`, "one"],
				["adopt", "c2", `${address}?frame=line`, "two", "said"],
			],
		);
		expect(lines).toEqual(["ok", bytes("2 two")]);
	});

	test("is told that a connection is dead when it takes it", async () => {
		const { lines } = await ask(
			[["conn", "c1", server.address, "hello"]],
			[
				["expect", 1],
				["transfer", "c1", `${server.address}?frame=line`, "bye"],
				["sleep", 200],
			],
		);
		expect(lines).toEqual(["error connectionReset"]);
	});

	const spliced = name.endsWith("gvisor") ? [name] : [];
	test.each(spliced)("tells a reset from an end, which a socketpair does not (%s)", async () => {
		const { address } = server;
		const { lines } = await ask(
			[
				["broken", "c1", address, "die"],
				["broken", "c2", address, "bye"],
			],
			[
				["expect", 2],
				["transfer", "c1", address, ""],
				["transfer", "c2", address, ""],
			],
		);
		expect(lines).toEqual(["ok 2 connectionReset", "ok 1 ok"]);
	});
});
