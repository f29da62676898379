// Every call of the API, as calls.c and calls.ts make them: a test compares what the host sees.
import {
	connect,
	exit,
	expect,
	expectMsg,
	input,
	jsonText,
	log,
	readReply,
	recvRpcReply,
	ReplyInfo,
	s3Get,
	sendMsg,
	sendReply,
	sendRpc,
} from "headstart";

const HUGE_ID: u64 = u64.MAX_VALUE;

function fetch(event: string): i32 {
	expect(2);
	expectMsg(7);
	const store = connect("s3://models");
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
	return reply.status;
}

export function headstart_main(): i32 {
	const event = input();
	const mode = jsonText(event, "mode");
	if (mode == "fetch") return fetch(event);
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
