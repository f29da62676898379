// {"script": [step, …]}, each step a list, its name first.
import {
	connect,
	expect,
	getConn,
	inputJson,
	receive,
	recvRpcReply,
	sendMsg,
	sendReply,
	sendRpc,
	transferConn,
} from "headstart";

type Step =
	| ["expect", count: number]
	/** Opens a connection, says lines on it, waits for the last answer, and hands the connection over. */
	| ["transfer", id: string, address: string, lines: string[]]
	/** Takes a connection, says a line on it, and sends what comes back as `to`. */
	| ["adopt", id: string, address: string, line: string, to: string]
	/** Receives a message, and says as `to` how long it is. */
	| ["receive", id: string, to: string];

let rpcs = 0n;

export default async function main(): Promise<void> {
	const { script = [] } = inputJson<{ script?: Step[] }>();
	for (const step of script) await run(step);
}

async function run(step: Step): Promise<void> {
	switch (step[0]) {
		case "expect":
			expect(step[1]);
			return;
		case "transfer": {
			const conn = connect(`${step[2]}?frame=line`);
			for (const line of step[3]) sendRpc(conn, ++rpcs, line);
			if (step[3].length > 0) await recvRpcReply(conn, rpcs);
			transferConn(step[1], step[2], conn);
			return;
		}
		case "adopt": {
			const conn = await getConn(step[1], `${step[2]}?frame=line`);
			sendRpc(conn, ++rpcs, step[3]);
			sendReply(step[4], rpcs);
			return;
		}
		case "receive": {
			sendMsg(step[2], `${(await receive(step[1])).length}`);
			return;
		}
	}
}
