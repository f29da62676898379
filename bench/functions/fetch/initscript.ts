/// <reference path="../../../initscripts/typescript/generated/headstart.d.ts" />
import { connect, recvRpcReply, sendRpc } from "headstart";

export default async function main(): Promise<void> {
	const bench = connect("s3://bench");
	sendRpc(bench, "body", "GET /fetch\n\n");
	await recvRpcReply(bench, "body");
}
