// Fetches, sends and hands over, and waits at the step that its input names until the gate lets it go on.
import { connect, expect, inputJson, recvRpcReply, s3Get, sendMsg, sendRpc, transferConn } from "headstart";

interface Input {
	hold: string;
	gate: string;
	echo: string;
	note: string;
}

export default async function main(): Promise<void> {
	const { hold, gate, echo, note } = inputJson<Input>();
	const control = connect(gate);
	const at = async (step: string): Promise<void> => {
		if (step !== hold) return;
		sendRpc(control, step, `GET /hold/${encodeURIComponent(step)}\n\n`);
		await recvRpcReply(control, step);
	};
	expect(2);
	await at("script started");
	const inputs = connect("s3://inputs");
	const big = s3Get(inputs, "big");
	await at("rpc sent");
	await at("half a reply");
	await recvRpcReply(inputs, big);
	await at("reply done");
	sendMsg("note", note);
	await at("message sent");
	transferConn("echo", echo, connect(echo));
}
