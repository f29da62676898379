/** The example application whose work comes from a queue, with a real queue, store, model and photos. */
import { readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Isolation, LABELS } from "../../bench/imgrec-functions.ts";
import {
	deployImgrecPy,
	type Places,
	type PyFormat,
	type PyTask,
	taskFor,
} from "../../bench/imgrec-py-functions.ts";
import { QueueService } from "../../bench/queue.ts";
import { countGets } from "../../bench/store.ts";
import { until } from "../../src/cli/node/wait.ts";
import { built } from "../../src/cli/paths.ts";
import type { InstanceRecord } from "../../src/shared/record.ts";
import { Doorway } from "../harness/doorway.ts";
import { application, runners } from "../harness/processes.ts";
import { useNode } from "../harness/suite.ts";

/** The queues: of most tests; one that waits for a task; one whose claimed tasks come back after two seconds. */
const QUEUES = { jobs: {}, slow: { ReceiveMessageWaitTimeSeconds: "10" }, hasty: { VisibilityTimeout: "2" } };
type Queue = keyof typeof QUEUES;

const isolations: Isolation[] = ["gvisor", "bubblewrap"];
const variants: [Isolation, PyFormat][] = [
	["gvisor", "c"],
	["bubblewrap", "c"],
	["bubblewrap", "ts"],
];
const CAT = "chelsea.png";
const COFFEE = "coffee.png";
const lines: string[] = [];
const queue = await QueueService.start({ sink: (from, line) => void lines.push(`${from}: ${line}`) });
/** Where results go: what the tasks name, and what counts the connections. */
let output: Doorway;
let results = 0;

const node = useNode(async (node) => {
	for (const object of ["models/efficientnet-lite0.onnx", `inputs/${CAT}`, `inputs/${COFFEE}`]) {
		const [bucket = ""] = object.split("/");
		await node.put(bucket, basename(object), await readFile(join(built, "assets", object)));
	}
	await node.put("inputs", "notes.txt", "this is no picture");
	if (!node.node.store) throw new Error("the node has no store");
	output = await Doorway.to(node.node.store.direct);
	const where = { store: node.node.store, queue: queue.secret(), output: output.origin };
	for (const [isolation, format] of variants) {
		const how = { name: `${isolation}-${format}`, queues: Object.keys(QUEUES) };
		await deployImgrecPy(node.client, where, isolation, format, how);
	}
});

afterAll(async () => {
	await output.close();
	await queue.stop();
});

beforeEach(async () => {
	await node().resetStore();
	output.reset();
	for (const [name, attributes] of Object.entries(QUEUES)) await queue.create(name, attributes);
});

afterEach(async () => {
	for (const name of Object.keys(QUEUES)) await queue.remove(name);
});

function places(): Places {
	const { store } = node().node;
	if (!store) throw new Error("the node has no store");
	return { store, queue: queue.secret(), output: output.origin };
}

/** Puts a task into a queue. The key of its result, and its id. */
async function send(
	key: string,
	to: Queue = "jobs",
	change: Partial<PyTask> = {},
): Promise<[string, string]> {
	const result = `result ${++results}.json`;
	return [result, await queue.send(to, JSON.stringify({ ...taskFor(places(), key, result), ...change }))];
}

interface Answered {
	status: number;
	answer: { task: string | null; label?: string; error?: string; message?: string };
	instance: string;
}

/** Has a fresh instance do one task. */
async function work(name: string, query = "", from: Queue = "jobs"): Promise<Answered> {
	const answer = await node().client.send(`/v1/functions/${name}/invocations?cold=1${query}`, {
		method: "POST",
		body: JSON.stringify({ queue: from }),
		signal: AbortSignal.timeout(40_000),
	});
	const instance = answer.headers.get("x-headstart-instance") ?? "";
	return { status: answer.status, answer: (await answer.json()) as Answered["answer"], instance };
}

async function stored(result: string): Promise<unknown> {
	return JSON.parse(await node().get("results", result));
}

/** What the application had the bridge do. */
function called({ events }: Pick<InstanceRecord, "events">): (string | undefined)[] {
	return events.flatMap(({ kind, content }) => (kind === "called" ? [content] : []));
}

const DONE = "DELETE sqs://jobs/DeleteMessage";

describe.each(variants)("in %s, initscript in %s", (isolation, format) => {
	test("does its task: the result is stored on the connection that was handed over, then the task leaves", async () => {
		const [result, task] = await send(CAT);
		const { status, answer, instance } = await work(`${isolation}-${format}`);
		expect({ status, answer }).toMatchObject({ status: 200, answer: { task } });
		expect(LABELS).toContain(answer.label);
		expect(await stored(result)).toEqual(answer);
		expect(await queue.counts("jobs")).toEqual({ visible: 0, claimed: 0 });
		expect(output.connections).toBe(1);
		const record = await node().ended(instance);
		expect(record).toMatchObject({ script: { end: "exit 0" }, unclaimed: [], missed: [], divergences: 0 });
		expect(called(record)).toEqual([DONE]);
		const taken = record.events.filter(({ kind }) => kind === "connTaken");
		expect(taken).toMatchObject([{ content: output.origin.replace("http", "tcp") }]);
		expect(countGets(await node().asked())).toEqual({ byApp: 0, byBridge: 2, perKey: 1 });
	});
});

describe.each(isolations)("by itself, in %s", (isolation) => {
	test("claims, fetches, connects and stores with its own clients", async () => {
		const [result, task] = await send(COFFEE);
		const { answer, instance } = await work(`${isolation}-c`, "&mode=direct");
		expect(answer).toMatchObject({ task, label: "espresso" });
		expect(await stored(result)).toEqual(answer);
		expect(await queue.counts("jobs")).toEqual({ visible: 0, claimed: 0 });
		expect(output.connections).toBe(1);
		expect(countGets(await node().asked())).toEqual({ byApp: 2, byBridge: 0, perKey: 1 });
		expect(await node().ended(instance)).toMatchObject({ mode: "direct", state: "ended" });
	});
});

test("without its initscript the bridge does all of it", async () => {
	const [result, task] = await send(CAT);
	const { answer, instance } = await work("bubblewrap-c", "&mode=noInitscript");
	expect(answer).toMatchObject({ task });
	expect(await stored(result)).toEqual(answer);
	expect(await queue.counts("jobs")).toEqual({ visible: 0, claimed: 0 });
	const contents = called(await node().ended(instance));
	expect(contents.map((content) => content?.split("?")[0]?.split("/results/")[0])).toEqual([
		"RECEIVE sqs://jobs/ReceiveMessage",
		"GET s3://inputs/chelsea.png",
		"GET s3://models/efficientnet-lite0.onnx",
		`PUT ${output.origin}`,
		DONE,
	]);
});

test("two at once do two tasks", async () => {
	const sent = await Promise.all([send(CAT), send(COFFEE)]);
	const done = await Promise.all([work("bubblewrap-c"), work("bubblewrap-c")]);
	expect(done.map(({ answer }) => answer.task).sort()).toEqual(sent.map(([, task]) => task).sort());
	for (const [result] of sent) expect(await stored(result)).toHaveProperty("label");
	expect(await queue.counts("jobs")).toEqual({ visible: 0, claimed: 0 });
});

test("the next task of a warm instance is stored on the same connection", async () => {
	const sent = [await send(CAT), await send(COFFEE)];
	const path = "/v1/functions/bubblewrap-c/invocations";
	const instances = new Set<string | null>();
	for (const _ of sent) {
		const answer = await node().client.ask(path, { method: "POST", body: "{}" });
		await answer.arrayBuffer();
		instances.add(answer.headers.get("x-headstart-instance"));
	}
	expect(instances.size).toBe(1);
	for (const [result] of sent) expect(await stored(result)).toHaveProperty("label");
	expect(output.connections).toBe(1);
	expect(await queue.counts("jobs")).toEqual({ visible: 0, claimed: 0 });
});

test.each(["", "&mode=direct"])("an empty queue is an answer, too%s", async (query) => {
	const { status, answer, instance } = await work("bubblewrap-c", query);
	expect({ status, answer }).toEqual({ status: 200, answer: { task: null } });
	const { unclaimed } = await node().ended(instance);
	// The model was fetched before it was known.
	if (query === "") expect(unclaimed).toMatchObject([{ content: "GET s3://models/efficientnet-lite0.onnx" }]);
});

describe("what cannot be done stays in the queue:", () => {
	const bad: [string, string, number, string][] = [
		["a photo that is not there", '{"bucket":"inputs","key":"none.png","output":OUTPUT}', 424, "noSuchPhoto"],
		["a photo that is none", '{"bucket":"inputs","key":"notes.txt","output":OUTPUT}', 422, "notAPhoto"],
		["a task without an output", '{"bucket":"inputs","key":"chelsea.png"}', 422, "malformedTask"],
		["a task that is no JSON", "paint it", 422, "malformedTask"],
		["a task that is a list", '["bucket","key","output"]', 422, "malformedTask"],
		[
			"an output that may not be reached",
			'{"bucket":"inputs","key":"chelsea.png","output":"http://10.213.255.1:9/results/x"}',
			502,
			"notStored",
		],
		[
			"an output that is no URL",
			'{"bucket":"inputs","key":"chelsea.png","output":"file:///etc/passwd"}',
			502,
			"notStored",
		],
	];
	const direct = bad.filter(([, , , error], index) => bad.findIndex((other) => other[3] === error) === index);
	const ways = [
		...bad.map((it) => ["", ...it] as const),
		...direct.map((it) => ["&mode=direct", ...it] as const),
	];

	test.each(ways)("%s %s", async (query, _, body, status, error) => {
		const url = taskFor(places(), CAT, "none").output;
		const task = await queue.send("jobs", body.replace("OUTPUT", JSON.stringify(url)));
		const answered = await work("bubblewrap-c", query);
		expect(answered).toMatchObject({ status, answer: { task, error } });
		expect(answered.answer.message).not.toContain("X-Amz-Signature");
		expect(await queue.counts("jobs")).toEqual({ visible: 0, claimed: 1 });
	});

	test("an output store that refuses", async () => {
		const [, task] = await send(CAT, "jobs", { output: `${output.origin}/results/x` });
		const answered = await work("bubblewrap-c");
		expect(answered).toMatchObject({ status: 502, answer: { task, error: "notStored" } });
		expect(answered.answer.message).toContain("403");
		expect(await queue.counts("jobs")).toEqual({ visible: 0, claimed: 1 });
	});
});

test("an initscript that dies after its claim does not lose the task", async () => {
	const working = work("bubblewrap-c", "", "slow");
	await until("the claim", 10_000, async () => {
		const [running] = await node().live();
		const { events = [] } = running === undefined ? {} : await node().record(running.id);
		return (
			events.some(({ kind, content }) => kind === "rpcAccepted" && content?.startsWith("RECEIVE")) ||
			undefined
		);
	});
	for (const pid of await runners(node().node.run)) process.kill(pid, "SIGKILL");
	await sleep(500);
	const [result, task] = await send(CAT, "slow");
	const { answer, instance } = await working;
	expect(answer).toMatchObject({ task });
	expect(await stored(result)).toEqual(answer);
	expect(await queue.counts("slow")).toEqual({ visible: 0, claimed: 0 });
	const record = await node().ended(instance);
	expect(record.script).toMatchObject({ error: { code: "runnerLost" } });
	expect(called(record)).not.toContain("RECEIVE sqs://slow/ReceiveMessage");
});

test("an initscript that comes too late claims nothing: the application was first", async () => {
	await deployImgrecPy(node().client, places(), "bubblewrap", "ts", { name: "late", edit: delay });
	const [result, task] = await send(CAT);
	const second = await send(COFFEE);
	// The application is still at it when the script begins.
	await node().fault({ request: `GET inputs/${CAT}`, kind: "slow", ms: 5000 });
	const { answer, instance } = await work("late");
	expect(answer).toMatchObject({ task });
	expect(await stored(result)).toEqual(answer);
	expect(await queue.counts("jobs")).toEqual({ visible: 1, claimed: 0 });
	const record = await node().ended(instance);
	expect(called(record)[0]).toBe("RECEIVE sqs://jobs/ReceiveMessage");
	expect(record.scriptLines?.[0]?.text).toMatch(/^appOwns: /);
	const accepted = record.events.flatMap(({ kind, content }) => (kind === "rpcAccepted" ? [content] : []));
	expect(accepted).toEqual(["GET s3://models/efficientnet-lite0.onnx"]);
	expect((await work("bubblewrap-c")).answer.task).toBe(second[1]);
});

/** Has an initscript wait, so that its application does not wait for it, and then begin. */
async function delay(folder: string): Promise<void> {
	const path = join(folder, "initscript.ts");
	const script = await readFile(path, "utf8");
	const late = "deadline(3000); await receive('nothing').catch(() => undefined); deadline(0);";
	const edited = script
		.replace("expect(4);", `${late} expect(4);`)
		.replace("connect,", "connect, deadline, receive,");
	await writeFile(path, edited);
}

test.each(isolations)("a killed application's task comes back, in %s", async (isolation) => {
	const [result, task] = await send(CAT, "hasty");
	const killed = work(`${isolation}-c`, "", "hasty");
	const victim = await until("the application", 10_000, async () => {
		const { claimed } = await queue.counts("hasty");
		return claimed === 1 ? application(node().node.bridge.pid ?? 0) : undefined;
	});
	process.kill(victim, "SIGKILL");
	expect((await killed).status).toBe(502);
	await until("the task", 10_000, async () => (await queue.counts("hasty")).visible === 1 || undefined);
	const { answer } = await work(`${isolation}-c`, "", "hasty");
	expect(answer).toMatchObject({ task });
	expect(await stored(result)).toEqual(answer);
	expect(await queue.counts("hasty")).toEqual({ visible: 0, claimed: 0 });
});

test.each(isolations)(
	"a connection that died is no harm, in %s: the bridge stores the result",
	async (isolation) => {
		output.cuts = 1;
		const [result, task] = await send(CAT);
		const { answer, instance } = await work(`${isolation}-c`);
		expect(answer).toMatchObject({ task });
		expect(await stored(result)).toEqual(answer);
		expect(output.connections).toBe(2);
		const contents = called(await node().ended(instance));
		expect(contents).toEqual([expect.stringMatching(/^PUT /), DONE]);
		expect(await queue.counts("jobs")).toEqual({ visible: 0, claimed: 0 });
	},
);

test.each(isolations)("a store that is gone leaves the task in the queue, in %s", async (isolation) => {
	output.cuts = Number.POSITIVE_INFINITY;
	const [, task] = await send(CAT);
	expect(await work(`${isolation}-c`)).toMatchObject({ status: 502, answer: { task, error: "notStored" } });
	expect(await queue.counts("jobs")).toEqual({ visible: 0, claimed: 1 });
});

test.each(["", "&mode=direct"])(
	"a store where nobody listens leaves the task in the queue%s",
	async (query) => {
		const gone = await Doorway.to(output.origin);
		const where = { ...places(), output: gone.origin };
		const task = await queue.send("jobs", JSON.stringify(taskFor(where, CAT, "none")));
		await deployImgrecPy(node().client, where, "bubblewrap", "c", { name: "gone" });
		await gone.close();
		expect(await work("gone", query)).toMatchObject({ status: 502, answer: { task, error: "notStored" } });
		expect(await queue.counts("jobs")).toEqual({ visible: 0, claimed: 1 });
	},
);
