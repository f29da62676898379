/**
 * Module `headstart` of a script's own isolate (schema/initscript.capnp in TypeScript, and the small library over it).
 * It lives in the isolate, not in the script's bundle, so that bundles stay small.
 */
import type { HostApi, Id, ReplyPlace, ScriptExit } from "../protocol.ts";
import { runToEnd } from "../script/end.ts";
import { fnv1a64 } from "../script/id.ts";
import { escapePath } from "../script/path.ts";
import { Session } from "../script/session.ts";
import { forwardConsole } from "./console.ts";
import { scriptStack } from "./stack.ts";

export { fnv1a64 };

type AnyId = bigint | string;
type Bytes = Uint8Array | string;

/** An isolate runs its script once. */
let session: Session | undefined;

/** Addresses by connection, for what is content of a request. */
const addresses = new Map<number, string>();

export function connect(address: string): number {
	const conn = current().connect(address);
	addresses.set(conn, address);
	return conn;
}

export function sendRpc(conn: number, rpc: AnyId, request: Bytes): void {
	current().sendRpc(conn, toId(rpc), toBytes(request));
}

/** As `sendRpc`; the reply is received in a file of the application's ("file:/path"). */
export function sendRpcTo(
	conn: number,
	rpc: AnyId,
	request: Bytes,
	place: string,
	offset = 0,
	room = 0,
): void {
	current().sendRpcTo(conn, toId(rpc), toBytes(request), place, offset, room);
}

export function recvRpcReply(conn: number, rpc: AnyId): Promise<{ status: number; length: number }> {
	return current().recvRpcReply(conn, toId(rpc));
}

export async function readReply(rpc: AnyId, offset = 0): Promise<Uint8Array> {
	const { bytes } = await current().readReply(toId(rpc), offset, 0x7fffffff);
	return bytes.slice();
}

export function sendMsg(id: AnyId, data: Bytes): void {
	current().sendMsg(toId(id), toBytes(data));
}

export function sendReply(id: AnyId, rpc: AnyId): void {
	current().sendReply(toId(id), toId(rpc));
}

/** Waits for a message of the application's; gives its length. */
export function recvMsg(id: AnyId): Promise<number> {
	return current().recvMsg(toId(id));
}

export async function readMsg(id: AnyId, offset = 0): Promise<Uint8Array> {
	const { bytes } = await current().readMsg(toId(id), offset, 0x7fffffff);
	return bytes.slice();
}

/** Waits for a message of the application's; gives its bytes. */
export async function receive(id: AnyId): Promise<Uint8Array> {
	await recvMsg(id);
	return readMsg(id);
}

export function transferConn(id: AnyId, address: string, conn: number): void {
	current().transferConn(toId(id), address, conn);
}

export async function getConn(id: AnyId, address: string): Promise<number> {
	const conn = await current().getConn(toId(id), address);
	addresses.set(conn, address);
	return conn;
}

export function deadline(millis: number): void {
	current().deadline(millis);
}

export function expect(count: number): void {
	current().expect(count);
}

export function expectMsg(id: AnyId): void {
	current().expectMsg(toId(id));
}

export function input(): Uint8Array {
	return current().input(0x7fffffff).bytes.slice();
}

export function log(text: string): void {
	current().log(String(text));
}

export function exit(status = 0): never {
	return current().exit(status);
}

/** The invocation's input as a JSON value. */
export function inputJson(): unknown {
	const text = new TextDecoder().decode(input());
	return text === "" ? undefined : JSON.parse(text);
}

/**
 * Fetches an object ahead: the reply is passed on, while it is still in flight, under the id that the application's storage
 * library claims: the hash of "GET s3://bucket/key". Gives that id. With `to` it is received in a file of the application's.
 */
export function s3Get(conn: number, key: string, to?: Partial<ReplyPlace> & { place: string }): Id {
	const path = escapePath(key);
	const id = fnv1a64(`GET ${addresses.get(conn) ?? ""}${path}`);
	if (to === undefined) sendRpc(conn, id, `GET ${path}\n\n`);
	else sendRpcTo(conn, id, `GET ${path}\n\n`, to.place, to.offset, to.room);
	sendReply(id, id);
	return id;
}

/** What a script's module exports. */
export interface ScriptModule {
	default?: unknown;
}

/** Runs the script. Called once, by the isolate's entrypoint. */
export function runScript(
	load: () => Promise<ScriptModule>,
	bytes: Uint8Array,
	host: HostApi,
): Promise<ScriptExit> {
	const run = new Session(host, bytes, () => scheduleFlush(run));
	session = run;
	forwardConsole(run);
	return runToEnd(
		run,
		async () => {
			const { default: main } = await load();
			if (typeof main !== "function") throw new TypeError(NO_MAIN);
			const status: unknown = await main(bytes.slice(), api);
			return typeof status === "number" && Number.isInteger(status) ? status >>> 0 : 0;
		},
		scriptStack,
	);
}

export const NO_MAIN =
	"an initscript exports its main function: `export default async function main(input, api) { … }`";

/** The second argument of `main`: the same calls. */
const api = {
	connect,
	sendRpc,
	sendRpcTo,
	recvRpcReply,
	readReply,
	sendMsg,
	sendReply,
	recvMsg,
	readMsg,
	receive,
	transferConn,
	getConn,
	deadline,
	expect,
	expectMsg,
	input,
	inputJson,
	log,
	exit,
	fnv1a64,
	s3Get,
};

function current(): Session {
	if (session === undefined) throw new Error("the initscript's calls are for use within its main function");
	return session;
}

/** Turns of the microtask queue after which a batch leaves: a script that ends by then gives it back with its end. */
const TURNS = 4;
const scheduled = new WeakSet<Session>();

function scheduleFlush(run: Session): void {
	if (scheduled.has(run)) return;
	scheduled.add(run);
	let turns = TURNS;
	const turn = (): void => {
		turns -= 1;
		if (turns > 0) {
			queueMicrotask(turn);
			return;
		}
		scheduled.delete(run);
		run.flush();
	};
	queueMicrotask(turn);
}

function toId(value: AnyId): Id {
	return typeof value === "string" ? fnv1a64(value) : value;
}

function toBytes(value: Bytes): Uint8Array {
	if (typeof value === "string") return new TextEncoder().encode(value);
	// A copy: the script may write to its own bytes before the batch leaves.
	return value instanceof Uint8Array ? value.slice() : value;
}
