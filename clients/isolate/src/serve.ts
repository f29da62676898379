/** The worker around an application: its setup, and its handler for each invocation (native-bridge/src/isolate/drive.rs). */
import { inspect } from "node:util";
import { answerOf, bytesOf } from "../../node/src/answer.ts";
import { bindings } from "./env.ts";

/** What a handler gets beside its event. */
export interface Context {
	/** headstart.toml's `[app] env`. */
	readonly env: Readonly<Record<string, string>>;
	/** 1, 2, … of this instance. */
	readonly invocation: number;
}

/** The event is parsed, if it is JSON; else its bytes. What the result may be: docs/clients.md, "Handlers in Node.js". */
export type Handler = (event: never, context: Context) => unknown;

/** A main module's exports. */
export interface Application {
	readonly default?: unknown;
	readonly handler?: unknown;
	/** Runs once, before the first event is there. */
	readonly setup?: unknown;
}

/** The text of a failure may be this long. */
const MOST = 3000;

type Call = (event: unknown, context: Context) => unknown;

/** Makes an application a worker. */
export function serve(application: Application): ExportedHandler {
	const handler = application.default ?? application.handler;
	return {
		async fetch(request): Promise<Response> {
			const [, kind, number] = new URL(request.url).pathname.split("/");
			try {
				if (typeof handler !== "function")
					throw new TypeError("the main module exports no default function and no handler");
				if (kind === "setup") {
					if (typeof application.setup === "function") await application.setup();
					return new Response();
				}
				const event = parse(new Uint8Array(await request.arrayBuffer()));
				const context = { env: bindings.ENV, invocation: Number(number) };
				return respond(await (handler as Call)(event, context));
			} catch (error) {
				const text = inspect(error);
				console.error(text);
				return new Response(text.slice(-MOST), { status: 500, headers: { "x-headstart-failed": "1" } });
			}
		},
	};
}

function parse(bytes: Uint8Array): unknown {
	try {
		return JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(bytes));
	} catch {
		return bytes;
	}
}

function respond(result: unknown): Response {
	const { status, headers, pieces } = answerOf(result);
	if (Array.isArray(pieces) && pieces.length <= 1) {
		const [piece] = pieces;
		return new Response(piece === undefined ? null : (bytesOf(piece) as Uint8Array<ArrayBuffer>), {
			status,
			headers,
		});
	}
	return new Response(streamOf(pieces), { status, headers });
}

/** Pieces of an answer, as the caller takes them. */
function streamOf(pieces: Iterable<unknown> | AsyncIterable<unknown>): ReadableStream<Uint8Array> {
	const iterator =
		Symbol.asyncIterator in pieces ? pieces[Symbol.asyncIterator]() : pieces[Symbol.iterator]();
	return new ReadableStream<Uint8Array>({
		async pull(sink): Promise<void> {
			const { done, value } = await iterator.next();
			if (done) sink.close();
			else sink.enqueue(bytesOf(value));
		},
		async cancel(): Promise<void> {
			await iterator.return?.();
		},
	});
}
