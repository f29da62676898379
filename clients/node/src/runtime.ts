/**
 * The handler loop: `headstart-runtime function.mjs`. Connects first, so that the platform sees the program early, then
 * imports the module, whose default export (or `handler`) is called with each event: parsed, if it is JSON; else its bytes.
 */
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { inspect } from "node:util";
import { answerOf, bytesOf } from "./answer.ts";
import { Client, type Invocation } from "./client.ts";
import { HeadstartError } from "./error.ts";

type Handler = (event: unknown) => unknown;

const LOST = ["bridgeLost", "instanceClosed"];
/** The text of a failure may be this long. */
const MOST = 3000;

async function load(path: string): Promise<Handler> {
	const module: { default?: unknown; handler?: unknown } = await import(pathToFileURL(resolve(path)).href);
	const handler = module.default ?? module.handler;
	if (typeof handler !== "function")
		throw new TypeError(`${path} exports no default function and no handler`);
	return handler as Handler;
}

/** The event as a handler gets it. A copy: the handler may keep it, and change it. */
function parse(bytes: Uint8Array): unknown {
	try {
		return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
	} catch {
		return bytes.slice();
	}
}

/** Calls the handler and sends its answer, or how it failed. The caller's going away is not an error. */
async function invoke(client: Client, handler: Handler, { id, event }: Invocation): Promise<void> {
	try {
		const data = parse(await event.bytes());
		event.free();
		const { status, headers, pieces } = answerOf(await handler(data));
		await client.begin(id, status, headers);
		for await (const piece of pieces) await client.write(id, bytesOf(piece));
		await client.end(id);
	} catch (error) {
		if (error instanceof HeadstartError && [...LOST, "cancelled"].includes(error.code)) {
			if (error.code === "cancelled") return;
			throw error;
		}
		await fail(client, id, error);
	}
}

async function fail(client: Client, id: bigint, error: unknown): Promise<void> {
	const text = inspect(error);
	console.error(text);
	try {
		await client.fail(id, text.slice(-MOST));
	} catch (failed) {
		if (!(failed instanceof HeadstartError) || LOST.includes(failed.code)) throw failed;
	}
}

/** Answers events until there are no more. The exit status. */
async function serve(client: Client, path: string): Promise<number> {
	const loading = load(path).then(
		(handler) => ({ handler }),
		(error: unknown) => ({ error }),
	);
	for (;;) {
		const [loaded, invocation] = await Promise.all([loading, client.next()]);
		if (invocation === undefined) return 0;
		if ("error" in loaded) {
			await fail(client, invocation.id, loaded.error);
			return 1;
		}
		await invoke(client, loaded.handler, invocation);
	}
}

const [path, ...rest] = process.argv.slice(2);
if (path === undefined || rest.length > 0) {
	console.error("usage: headstart-runtime MODULE");
	process.exit(2);
}
try {
	const client = new Client();
	await client.connect();
	process.exit(await serve(client, path));
} catch (error) {
	const hint = error instanceof HeadstartError ? ` (${error.hint})` : "";
	console.error(`headstart-runtime: ${error instanceof Error ? error.message : inspect(error)}${hint}`);
	process.exit(1);
}
