// Every call of the API: see calls.ts.
import {
	connect,
	Connection,
	deadline,
	exit,
	expect,
	expectMsg,
	fnv1a64,
	getConn,
	input,
	jsonText,
	log,
	readMsg,
	readReply,
	receive,
	recvMsg,
	recvRpcReply,
	ReplyInfo,
	s3Get,
	s3GetTo,
	sendMsg,
	sendReply,
	sendRpc,
	sendRpcBytes,
	sendRpcTo,
	transferConn,
} from "headstart";

const HUGE_ID: u64 = u64.MAX_VALUE;

function fetch(event: string): i32 {
	expect(2);
	expectMsg(7);
	const store = connect("s3://inputs");
	sendRpc(store, HUGE_ID, "GET /x\n\n");
	const reply = new ReplyInfo();
	const result = recvRpcReply(store, HUGE_ID, reply);
	if (result < 0) return -result;
	const body = new ArrayBuffer(reply.length - 1);
	readReply(HUGE_ID, 1, body);
	sendMsg(5, body);
	sendReply(6, HUGE_ID);
	sendMsg(7, String.UTF8.encode(event));
	s3Get(store, "/a b/é!.png");
	log("done");
	return reply.status == 200 ? 0 : reply.status;
}

function place(): i32 {
	expect(2);
	const store = connect("s3://inputs");
	s3GetTo(store, "x", "file:/tmp/shared", 4096, 100);
	sendRpcTo(store, 1, "GET /x\n\n", "file:/tmp/shared", 4195);
	return -sendReply(1, 1);
}

function echo(): i32 {
	expect(1);
	deadline(5000);
	const question = receive(fnv1a64("question"));
	return question === null ? 1 : -sendMsg(fnv1a64("answer"), question);
}

function handOver(address: string): i32 {
	expect(1);
	const server = connect(address + "?frame=line");
	sendRpc(server, 1, "one");
	recvRpcReply(server, 1, new ReplyInfo());
	return -transferConn(1, address, server);
}

function takeOver(address: string): i32 {
	expect(2);
	deadline(5000);
	const server = connect(address + "?frame=line");
	transferConn(1, address, server);
	const back = getConn(2, address + "?frame=line");
	sendRpc(back, 1, "taken");
	return -sendReply(fnv1a64("said"), 1);
}

let codes = "";

function tell(result: i32): void {
	codes += (codes.length > 0 ? " " : "") + (result < 0 ? -result : 0).toString();
}

function fail(): i32 {
	const none = new Connection(99, "");
	const reply = new ReplyInfo();
	const huge = new ArrayBuffer((1 << 20) + 1);
	const small = new ArrayBuffer(8);
	expect(2);
	const store = connect("s3://inputs");
	tell(sendRpc(none, 1, "GET /x\n\n"));
	tell(recvRpcReply(none, 1, reply));
	tell(recvRpcReply(store, 1, reply));
	tell(readReply(1, 0, small));
	tell(sendRpcBytes(store, 2, huge));
	tell(sendMsg(2, huge));
	tell(connect("s3://" + "x".repeat(4096)).handle);
	tell(transferConn(1, "s3://inputs", none));
	tell(readMsg(1, 0, small));
	sendRpc(store, 3, "GET /x\n\n");
	tell(sendRpc(store, 3, "GET /y\n\n"));
	tell(recvRpcReply(store, 3, reply));
	tell(readReply(3, 1000, small));
	sendMsg(fnv1a64("empty"), new ArrayBuffer(0));
	sendMsg(fnv1a64("empty"), String.UTF8.encode("again"));
	deadline(30);
	tell(recvMsg(fnv1a64("never")));
	tell(getConn(1, "tcp://nowhere:1").handle);
	deadline(0);
	transferConn(1, "s3://inputs", store);
	tell(sendRpc(store, 4, "GET /x\n\n"));
	tell(transferConn(2, "s3://inputs", store));
	return -sendMsg(fnv1a64("errors"), String.UTF8.encode(codes));
}

export function headstart_main(): i32 {
	const event = input();
	const mode = jsonText(event, "mode");
	const named = jsonText(event, "address");
	const address = named === null ? "" : named;
	if (mode == "fetch") return fetch(event);
	if (mode == "place") return place();
	if (mode == "echo") return echo();
	if (mode == "hand over") return handOver(address);
	if (mode == "take over") return takeOver(address);
	if (mode == "fail") return fail();
	if (mode == "exit") {
		exit(3);
		log("not reached");
	}
	if (mode == "many") for (let i = 0; i < 10000; i++) expectMsg(i);
	if (mode == "too many") for (let i = 0; i < 10001; i++) expectMsg(i);
	if (mode == "trap") {
		log("about to trap");
		throw new Error("as the test wants it");
	}
	return 0;
}
