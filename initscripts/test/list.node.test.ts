import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { buildInitscript } from "../../src/build/index.ts";

/** Logs what it listed and what stands in the event, in AssemblyScript. */
const SOURCE = `
import { connect, input, jsonItems, jsonText, jsonValue, log, s3List } from "headstart";
export function headstart_main(): i32 {
	const keys = s3List(connect("s3://b"), "d/ä&");
	for (let at = 0; at < keys.length; at++) log(keys[at]);
	const object = jsonValue(input(), "object");
	log("object " + object);
	const name = jsonText(object, "key");
	if (name !== null) log("key " + name);
	const items = jsonItems(jsonValue(input(), "items"));
	for (let at = 0; at < items.length; at++) log("item " + items[at]);
	log("none [" + jsonValue(input(), "other") + "] " + jsonItems(object).length.toString());
	return 0;
}`;

let module: WebAssembly.Module;
beforeAll(async () => {
	const folder = await mkdtemp(join(tmpdir(), "hs-list-"));
	try {
		const path = join(folder, "script.as.ts");
		await writeFile(path, SOURCE);
		const built = await buildInitscript(path);
		if (built.format !== "wasm") throw new Error("not a module");
		module = new WebAssembly.Module(new Uint8Array(built.bytes));
	} finally {
		await rm(folder, { recursive: true });
	}
}, 60_000);

/** Runs the script against pages of a listing. Returns what it logged and the paths that it asked for. */
function run(pages: string[], event: string): { lines: string[]; asked: string[] } {
	const [lines, asked]: [string[], string[]] = [[], []];
	const replies = new Map<bigint, Uint8Array>();
	let memory = new WebAssembly.Memory({ initial: 0 });
	const bytes = (at: number, length: number): Uint8Array => new Uint8Array(memory.buffer, at, length);
	const text = (at: number, length: number): string => new TextDecoder().decode(bytes(at, length));
	/** Writes as much as there is room for; the whole length. */
	const give = (data: Uint8Array, at: number, room: number): number => {
		bytes(at, Math.min(room, data.length)).set(data.subarray(0, room));
		return data.length;
	};
	const api: Record<string, (...args: never[]) => number> = {
		connect: () => 1,
		expectMsg: () => 0,
		sendReply: () => 0,
		sendRpc: (_conn: number, rpc: bigint, at: number, length: number) => {
			asked.push(text(at, length).trim());
			const page = pages.shift();
			if (page !== undefined) replies.set(rpc, new TextEncoder().encode(page));
			return 0;
		},
		recvRpcReply: (_conn: number, rpc: bigint, info: number) => {
			const reply = replies.get(rpc);
			if (reply === undefined) return -1;
			new Uint32Array(memory.buffer, info, 2).set([200, reply.length]);
			return 0;
		},
		readReply: (rpc: bigint, offset: number, at: number, room: number) =>
			give(replies.get(rpc)?.subarray(offset) ?? new Uint8Array(), at, room),
		input: (at: number, room: number) => give(new TextEncoder().encode(event), at, room),
		log: (at: number, length: number) => lines.push(text(at, length)),
	};
	const imports: WebAssembly.Imports = {};
	for (const { module: from, name } of WebAssembly.Module.imports(module)) {
		imports[from] = { ...imports[from], [name]: api[name] ?? (() => 0) };
	}
	const { exports } = new WebAssembly.Instance(module, imports);
	if (!(exports.memory instanceof WebAssembly.Memory)) throw new Error("no memory");
	memory = exports.memory;
	for (const name of ["_initialize", "headstart_main"]) (exports[name] as (() => number) | undefined)?.();
	return { lines, asked };
}

const page = (keys: string[], token?: string): string =>
	`<?xml version="1.0"?><ListBucketResult>${keys.map((key) => `<Contents><Key>${key}</Key></Contents>`).join("")}` +
	`<IsTruncated>${token !== undefined}</IsTruncated>` +
	`${token === undefined ? "" : `<NextContinuationToken>${token}</NextContinuationToken>`}</ListBucketResult>`;

test("s3List asks for every page as the storage library claims it", () => {
	const { lines, asked } = run([page(["d/a&amp;b", "d/&#228;&#x41;&what;"], "t/1"), page(["d/z"])], "{}");
	expect(lines.slice(0, 3)).toEqual(["d/a&b", "d/äA&what;", "d/z"]);
	const filter = "list-type=2&prefix=d%2F%C3%A4%26";
	expect(asked).toEqual([`GET /?${filter}`, `GET /?continuation-token=t%2F1&${filter}`]);
});

test("s3List gives the keys that came before a page that failed", () => {
	const { lines, asked } = run([page(["d/a"], "t")], "{}");
	expect(lines[0]).toBe("d/a");
	expect(asked).toHaveLength(2);
	expect(run([], "{}").lines[0]).toBe("object ");
});

test("values in values are read", async () => {
	const event = '{"items":[1, {"a":[2,3]} ,"x"],"object": {"size":1,"key":"k"}}';
	const { lines } = run([page([])], event);
	expect(lines).toEqual([
		'object {"size":1,"key":"k"}',
		"key k",
		"item 1",
		'item {"a":[2,3]}',
		'item "x"',
		"none [] 0",
	]);
});
