// Every call of the API, as calls.c and calls.as.ts make them: a test compares what the host sees.
import {
	connect,
	exit,
	expect,
	expectMsg,
	input,
	inputJson,
	log,
	readReply,
	recvRpcReply,
	s3Get,
	sendMsg,
	sendReply,
	sendRpc,
} from "headstart";

const HUGE_ID = 0xffffffffffffffffn;

async function fetchIt(): Promise<number> {
	expect(2);
	expectMsg(7n);
	const store = connect("s3://models");
	sendRpc(store, HUGE_ID, "GET /x\n\n");
	const { status } = await recvRpcReply(store, HUGE_ID);
	const body = await readReply(HUGE_ID, 1);
	sendMsg(5n, body);
	sendReply(6n, HUGE_ID);
	sendMsg(7n, input());
	s3Get(store, "/a b/é!.png");
	log("done");
	return status;
}

function trap(): never {
	log("about to trap");
	throw new Error("as the test wants it");
}

export default async function main(): Promise<number> {
	const { mode } = inputJson<{ mode?: string }>();
	if (mode === "fetch") return fetchIt();
	if (mode === "exit") exit(3);
	if (mode === "many") for (let i = 0n; i < 10000n; i++) expectMsg(i);
	if (mode === "too many") for (let i = 0n; i < 10001n; i++) expectMsg(i);
	if (mode === "trap") trap();
	return 0;
}
