/// <reference path="../../../initscripts/typescript/generated/headstart.d.ts" />
import { connect, expect, recvRpcReply, sendMsg, sendReply, sendRpc } from "headstart";

export default async function main(): Promise<void> {
	expect(2);
	const bench = connect("s3://bench");
	sendRpc(bench, "body", "GET /recv\n\n");
	sendReply("body", "body");
	await recvRpcReply(bench, "body");
	sendMsg("complete", "1");
}
