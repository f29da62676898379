// Does what its event says, a step after the other, and answers what each gave.
import { env as bindings } from "cloudflare:workers";
import { type Context, call, HeadstartError, recvMsg, sendMsg } from "headstart";
import { download, StorageError, upload } from "headstart/storage";

type Step =
	| ["download", bucket: string, key: string]
	| ["upload", bucket: string, key: string, text: string]
	| ["receive", id: string, content?: string, timeout?: number]
	| ["send", id: string, text: string]
	| ["call", request: string]
	| ["fetch", url: string]
	| ["raw", path: string, bytes: number | string, headers?: Record<string, string>]
	| ["chunked", path: string]
	| ["headers", count: number]
	| ["throw", text: string]
	| ["say", line: string]
	| ["spin"]
	| ["buffers"]
	| ["answer", pieces: number];

let setups = 0;
const born = crypto.randomUUID.bind(crypto);
let process = "";
const held: Uint8Array[] = [];

export function setup(): void {
	setups++;
	process = born();
}

export default async function handler(
	{ steps }: { steps: Step[] },
	{ env, invocation }: Context,
): Promise<unknown> {
	const results: unknown[] = [];
	for (const step of steps) {
		if (step[0] === "answer") return piecesOf(step[1]);
		if (step[0] === "headers") return withHeaders(step[1]);
		try {
			results.push(await run(step));
		} catch (error) {
			if (error instanceof HeadstartError) results.push({ error: error.code });
			else if (error instanceof StorageError) results.push({ status: error.status });
			else throw error;
		}
	}
	return { greeting: env.GREETING, invocation, setups, process, steps: results };
}

async function run(step: Step): Promise<unknown> {
	switch (step[0]) {
		case "download":
			return summary(await download(step[1], step[2]));
		case "upload":
			return upload(step[1], step[2], step[3]);
		case "receive":
			return summary(
				await (await recvMsg(step[1], { content: step[2] ?? "", timeout: step[3] ?? 0 })).bytes(),
			);
		case "send":
			return sendMsg(step[1], step[2]);
		case "call":
			return summary(await (await call(step[1])).bytes());
		case "fetch":
			return fetch(step[1]).then(
				() => "reached",
				() => "refused",
			);
		case "raw": {
			const body = typeof step[2] === "string" ? step[2] : new Uint8Array(step[2]);
			return raw(step[1], { body, headers: step[3] ?? {} });
		}
		case "chunked":
			return raw(step[1], { body: new Response("bytes").body?.pipeThrough(new TransformStream()) ?? null });
		case "throw":
			throw new Error(step[1]);
		case "say":
			return console.log(step[1]);
		case "spin":
			for (;;);
		case "buffers":
			for (;;) held.push(new Uint8Array(16 << 20).fill(1));
		default:
			throw new TypeError("no such step");
	}
}

/** What the bridge says to a request that our client would not send. */
async function raw(path: string, init: RequestInit): Promise<unknown> {
	const { BRIDGE } = bindings as unknown as { BRIDGE: Fetcher };
	const response = await BRIDGE.fetch(`http://bridge${path}`, { method: "POST", ...init });
	return [response.status, ((await response.json()) as { code: string }).code];
}

function withHeaders(count: number): unknown {
	const headers = Array.from({ length: count }, (_, index) => [`x-${index}`, "1"]);
	return { status: 200, headers: Object.fromEntries(headers), body: "" };
}

function summary(bytes: Uint8Array): unknown {
	return { bytes: bytes.length, head: new TextDecoder().decode(bytes.subarray(0, 16)) };
}

async function* piecesOf(count: number): AsyncGenerator<Uint8Array> {
	for (let index = 0; index < count; index++) yield new Uint8Array(1 << 16).fill(index);
}
