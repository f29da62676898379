/**
 * headstart in AssemblyScript: a thin layer over the imports (generated/imports.ts).
 *
 * @example
 * import { connect, s3Get } from "headstart";
 *
 * export function headstart_main(): i32 {
 *   s3Get(connect("s3://models"), "weights.onnx");
 *   return 0;
 * }
 *
 * Functions that give an i32 give a value ≥ 0, or an error's number negated (ErrorCode).
 */
import * as imports from "./generated/imports";

export { ErrorCode, ReplyInfo } from "./generated/imports";
export { jsonItems, jsonText, jsonValue } from "./json";
export { s3List } from "./list";

/** A connection and the address that it was made for; `handle` is an error's number, negated, when that failed. */
@final
export class Connection {
	constructor(
		public handle: i32,
		public address: string,
	) {}
}

/** Connects to an address such as "s3://bucket". Never waits. */
export function connect(address: string): Connection {
	const bytes = String.UTF8.encode(address);
	const handle = imports.connect(<u32>changetype<usize>(bytes), <u32>bytes.byteLength);
	return new Connection(handle, address);
}

/** Sends an RPC in the protocol's own form: "VERB path\nname: value\n\nbody". */
export function sendRpc(connection: Connection, rpc: u64, request: string): i32 {
	return sendRpcBytes(connection, rpc, String.UTF8.encode(request));
}

/** The same where the request is no text. */
export function sendRpcBytes(connection: Connection, rpc: u64, request: ArrayBuffer): i32 {
	if (connection.handle < 0) return connection.handle;
	return imports.sendRpc(connection.handle, rpc, <u32>changetype<usize>(request), <u32>request.byteLength);
}

/** As `sendRpc`; the reply is received in a file of the application's, "file:/path", from offset. room 0: up to its end. */
export function sendRpcTo(
	connection: Connection,
	rpc: u64,
	request: string,
	place: string,
	offset: u32 = 0,
	room: u32 = 0,
): i32 {
	if (connection.handle < 0) return connection.handle;
	const bytes = String.UTF8.encode(request);
	const to = String.UTF8.encode(place);
	return imports.sendRpcTo(
		connection.handle,
		rpc,
		<u32>changetype<usize>(bytes),
		<u32>bytes.byteLength,
		<u32>changetype<usize>(to),
		<u32>to.byteLength,
		offset,
		room,
	);
}

/** Waits until a reply is complete. */
export function recvRpcReply(connection: Connection, rpc: u64, reply: imports.ReplyInfo): i32 {
	return imports.recvRpcReply(connection.handle, rpc, <u32>changetype<usize>(reply));
}

/** Bytes of a complete reply, from offset: the whole length, of which as much is written as there is room. */
export function readReply(rpc: u64, offset: u32, target: ArrayBuffer): i32 {
	return imports.readReply(rpc, offset, <u32>changetype<usize>(target), <u32>target.byteLength);
}

/** Sends bytes of the script's own to the application. */
export function sendMsg(id: u64, data: ArrayBuffer): i32 {
	return imports.sendMsg(id, <u32>changetype<usize>(data), <u32>data.byteLength);
}

/** Passes a reply on, also one that is still in flight. */
export function sendReply(id: u64, rpc: u64): i32 {
	return imports.sendReply(id, rpc);
}

/** Waits for a message of the application's; its length. */
export function recvMsg(id: u64): i32 {
	return imports.recvMsg(id);
}

/** Bytes of a received message, from offset: the whole length, of which as much is written as there is room. */
export function readMsg(id: u64, offset: u32, target: ArrayBuffer): i32 {
	return imports.readMsg(id, offset, <u32>changetype<usize>(target), <u32>target.byteLength);
}

/** Waits for a message of the application's; null when none comes. `recvMsg` and `readMsg` in one. */
export function receive(id: u64): ArrayBuffer | null {
	const length = imports.recvMsg(id);
	if (length < 0) return null;
	const bytes = new ArrayBuffer(length);
	return readMsg(id, 0, bytes) < 0 ? null : bytes;
}

/** Hands a connection over: the application gets it by this id and address, and it may not be used here any more. */
export function transferConn(id: u64, address: string, connection: Connection): i32 {
	if (connection.handle < 0) return connection.handle;
	const bytes = String.UTF8.encode(address);
	return imports.transferConn(
		id,
		<u32>changetype<usize>(bytes),
		<u32>bytes.byteLength,
		connection.handle,
	);
}

/** Waits for a connection that the application hands over. */
export function getConn(id: u64, address: string): Connection {
	const bytes = String.UTF8.encode(address);
	const handle = imports.getConn(id, <u32>changetype<usize>(bytes), <u32>bytes.byteLength);
	return new Connection(handle, address);
}

/** The longest that each later call that waits, and each RPC sent later, may take. 0: the manifest's limits alone. */
export function deadline(millis: u32): i32 {
	return imports.deadline(millis);
}

/** Announces that this many more messages will be sent. */
export function expect(count: u32): i32 {
	return imports.expect(count);
}

/** Announces one message by its id. */
export function expectMsg(id: u64): i32 {
	return imports.expectMsg(id);
}

/** The invocation's input for the initscript. */
export function input(): string {
	const length = imports.input(0, 0);
	const bytes = new ArrayBuffer(length);
	imports.input(<u32>changetype<usize>(bytes), <u32>length);
	return String.UTF8.decode(bytes);
}

export function log(text: string): void {
	const bytes = String.UTF8.encode(text);
	imports.log(<u32>changetype<usize>(bytes), <u32>bytes.byteLength);
}

/** Ends the script. RPCs already sent run on. */
export function exit(status: u32): void {
	imports.exit(status);
}

/** FNV-1a 64 of a text's UTF-8 bytes: its id. */
export function fnv1a64(text: string): u64 {
	const bytes = String.UTF8.encode(text);
	let hash: u64 = 0xcbf29ce484222325;
	for (let at = changetype<usize>(bytes), end = at + bytes.byteLength; at < end; at++) {
		hash = (hash ^ load<u8>(at)) * 0x100000001b3;
	}
	return hash;
}

/**
 * Fetches an object ahead: the reply is passed on, while it is still in flight, under the id that the application's storage
 * library claims: the hash of "GET s3://bucket/key". Gives that id.
 */
export function s3Get(bucket: Connection, key: string): u64 {
	const path = escapePath(key);
	const id = fnv1a64("GET " + bucket.address + path);
	sendRpc(bucket, id, "GET " + path + "\n\n");
	sendReply(id, id);
	return id;
}

/** As `s3Get`; the object is received in a file of the application's, as `sendRpcTo` says. */
export function s3GetTo(bucket: Connection, key: string, place: string, offset: u32 = 0, room: u32 = 0): u64 {
	const path = escapePath(key);
	const id = fnv1a64("GET " + bucket.address + path);
	sendRpcTo(bucket, id, "GET " + path + "\n\n", place, offset, room);
	sendReply(id, id);
	return id;
}

/** Waits for a reply and gives all of it; null when there is none, or it is an error's (a status of 300 and more). */
export function replyBytes(connection: Connection, rpc: u64): ArrayBuffer | null {
	const info = new imports.ReplyInfo();
	if (recvRpcReply(connection, rpc, info) < 0 || info.status >= 300) return null;
	const bytes = new ArrayBuffer(<i32>info.length);
	return readReply(rpc, 0, bytes) < 0 ? null : bytes;
}

/** A key as the path of its URL: percent-encoded once, with one slash before it. */
function escapePath(key: string): string {
	let start = 0;
	while (start < key.length && key.charCodeAt(start) == 0x2f) start++;
	return "/" + percentEncode(key.substring(start), true);
}

/** Percent-encoding of UTF-8, as it stands in a path (`slashes` stay) or in a query. */
export function percentEncode(text: string, slashes: bool): string {
	const bytes = String.UTF8.encode(text);
	let encoded = "";
	for (let at = changetype<usize>(bytes), end = at + bytes.byteLength; at < end; at++) {
		const byte = load<u8>(at);
		const plain = isPlain(byte) && (slashes || byte != 0x2f);
		encoded += plain ? String.fromCharCode(byte) : "%" + hex(byte >> 4) + hex(byte & 15);
	}
	return encoded;
}

function isPlain(byte: u8): bool {
	const lower = byte | 0x20;
	if (lower >= 0x61 && lower <= 0x7a) return true;
	// - . / and digits; _ and ~
	return (byte >= 0x2d && byte <= 0x39) || byte == 0x5f || byte == 0x7e;
}

function hex(digit: u8): string {
	return String.fromCharCode(digit < 10 ? 0x30 + digit : 0x37 + digit);
}
