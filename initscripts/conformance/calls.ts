// Every call of the API, as the files beside this one make them in their languages: tests compare what the host sees
// (src/isolates/test/conformance.node.test.ts), and what a node makes of it (test/e2e/conformance.test.ts).
import {
	connect,
	deadline,
	exit,
	expect,
	expectMsg,
	getConn,
	input,
	log,
	readMsg,
	readReply,
	receive,
	recvMsg,
	recvRpcReply,
	s3Get,
	sendMsg,
	sendReply,
	sendRpc,
	sendRpcTo,
	transferConn,
} from "headstart";

const HUGE_ID = 0xffffffffffffffffn;

interface Event {
	mode: string;
	/** "tcp://host:port" */
	address?: string;
}

/** All that is about RPCs and messages to the application. */
async function fetchIt(): Promise<number> {
	expect(2);
	expectMsg(7n);
	const store = connect("s3://inputs");
	sendRpc(store, HUGE_ID, "GET /x\n\n");
	const { status } = await recvRpcReply(store, HUGE_ID);
	const body = await readReply(HUGE_ID, 1);
	sendMsg(5n, body);
	sendReply(6n, HUGE_ID);
	sendMsg(7n, input());
	s3Get(store, "/a b/é!.png");
	log("done");
	return status === 200 ? 0 : status;
}

/** Replies come into a file of the application's; the second has a byte of the first one's place. */
function place(): number {
	expect(2);
	const store = connect("s3://inputs");
	s3Get(store, "x", { place: "file:/tmp/shared", offset: 4096, room: 100 });
	sendRpcTo(store, 1n, "GET /x\n\n", "file:/tmp/shared", 4195, 0);
	sendReply(1n, 1n);
	return 0;
}

/** A message of the application's goes back to it. */
async function echo(): Promise<number> {
	expect(1);
	deadline(5000);
	sendMsg("answer", await receive("question"));
	return 0;
}

/** A connection is used, and then the application's. */
async function handOver(address: string): Promise<number> {
	expect(1);
	const server = connect(`${address}?frame=line`);
	sendRpc(server, 1n, "one");
	await recvRpcReply(server, 1n);
	transferConn(1n, address, server);
	return 0;
}

/** A connection of the application's is used. */
async function takeOver(address: string): Promise<number> {
	expect(2);
	deadline(5000);
	const server = connect(`${address}?frame=line`);
	transferConn(1n, address, server);
	const back = await getConn(2n, `${address}?frame=line`);
	sendRpc(back, 1n, "taken");
	sendReply("said", 1n);
	return 0;
}

/** Calls that fail: their errors, in order, as a message. */
async function fail(): Promise<number> {
	const codes: string[] = [];
	const tell = async (call: () => unknown): Promise<void> => {
		try {
			await call();
			codes.push("ok");
		} catch (thrown) {
			codes.push((thrown as { code?: string }).code ?? "internal");
		}
	};
	expect(2);
	const store = connect("s3://inputs");
	await tell(() => sendRpc(99, 1n, "GET /x\n\n"));
	await tell(() => recvRpcReply(99, 1n));
	await tell(() => recvRpcReply(store, 1n));
	await tell(() => readReply(1n, 0));
	await tell(() => sendRpc(store, 2n, new Uint8Array((1 << 20) + 1)));
	await tell(() => sendMsg(2n, new Uint8Array((1 << 20) + 1)));
	await tell(() => connect(`s3://${"x".repeat(4096)}`));
	await tell(() => transferConn(1n, "s3://inputs", 99));
	await tell(() => readMsg(1n, 0));
	sendRpc(store, 3n, "GET /x\n\n");
	await tell(() => sendRpc(store, 3n, "GET /y\n\n"));
	await tell(() => recvRpcReply(store, 3n));
	await tell(() => readReply(3n, 1000));
	sendMsg("empty", "");
	sendMsg("empty", "again");
	deadline(30);
	await tell(() => recvMsg("never"));
	await tell(() => getConn(1n, "tcp://nowhere:1"));
	deadline(0);
	transferConn(1n, "s3://inputs", store);
	await tell(() => sendRpc(store, 4n, "GET /x\n\n"));
	await tell(() => transferConn(2n, "s3://inputs", store));
	sendMsg("errors", codes.join(" "));
	return 0;
}

function trap(): never {
	log("about to trap");
	throw new Error("as the test wants it");
}

export default async function main(): Promise<number> {
	const [head = ""] = new TextDecoder().decode(input()).split("\n");
	const { mode, address = "" } = JSON.parse(head) as Event;
	if (mode === "fetch") return fetchIt();
	if (mode === "place") return place();
	if (mode === "echo") return echo();
	if (mode === "hand over") return handOver(address);
	if (mode === "take over") return takeOver(address);
	if (mode === "fail") return fail();
	if (mode === "exit") exit(3);
	if (mode === "many") for (let i = 0n; i < 10000n; i++) expectMsg(i);
	if (mode === "too many") for (let i = 0n; i < 10001n; i++) expectMsg(i);
	if (mode === "trap") trap();
	return 0;
}
