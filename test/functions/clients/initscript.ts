// The first part of the event, up to "\n---\n": {"script": [step, …]}. Each step is a list, its name first.
import {
	connect,
	expect,
	getConn,
	input,
	receive,
	recvRpcReply,
	s3Get,
	sendMsg,
	sendReply,
	sendRpc,
	transferConn,
} from "headstart";

type Step =
	/** With a place it is received in a file. */
	| ["get", bucket: string, key: string, place?: string, offset?: number, room?: number]
	| ["reply", id: string, bucket: string, key: string]
	| ["say", id: string, text: string, times: number]
	| ["expect", count: number]
	| ["sleep", ms: number]
	/** Receives a message, and says as `to` how many bytes of which sum it has. */
	| ["receive", id: string, to: string]
	/** Opens a connection, says a line on it unless it is empty, waits for the answer, and hands the connection over. */
	| ["transfer", id: string, address: string, line: string]
	/** Takes a connection, says a line on it, and sends what comes back as `to`. */
	| ["adopt", id: string, address: string, line: string, to: string];

export default async function main(): Promise<void> {
	const [head] = new TextDecoder().decode(input()).split("\n---\n");
	const { script = [] } = JSON.parse(head || "{}") as { script?: Step[] };
	for (const step of script) await run(step);
}

let rpcs = 0n;

async function run(step: Step): Promise<void> {
	switch (step[0]) {
		case "get":
			s3Get(
				connect(`s3://${step[1]}`),
				step[2],
				step[3] === undefined ? undefined : { place: step[3], offset: step[4] ?? 0, room: step[5] ?? 0 },
			);
			return;
		case "reply":
			sendRpc(connect(`s3://${step[2]}`), ++rpcs, `GET /${step[3]}\n\n`);
			sendReply(idOf(step[1]), rpcs);
			return;
		case "say":
			sendMsg(idOf(step[1]), step[2].repeat(step[3]));
			return;
		case "expect":
			expect(step[1]);
			return;
		case "sleep":
			await new Promise((resolve) => setTimeout(resolve, step[1]));
			return;
		case "receive": {
			const bytes = await receive(idOf(step[1]));
			sendMsg(step[2], `${bytes.length} ${bytes.reduce((sum, byte) => sum + byte, 0)}`);
			return;
		}
		case "transfer": {
			const conn = connect(step[2]);
			if (step[3] !== "") {
				sendRpc(conn, ++rpcs, step[3]);
				await recvRpcReply(conn, rpcs);
			}
			transferConn(idOf(step[1]), step[2], conn);
			return;
		}
		case "adopt": {
			const conn = await getConn(idOf(step[1]), step[2]);
			sendRpc(conn, ++rpcs, step[3]);
			sendReply(step[4], rpcs);
			return;
		}
	}
}

function idOf(text: string): bigint | string {
	return text.startsWith("#") ? BigInt(text.slice(1)) : text;
}
