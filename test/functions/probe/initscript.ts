// Does what its input says: {"script": [step, …]}. Each step is a list, its name first.
import {
	connect,
	exit,
	expect,
	expectMsg,
	inputJson,
	recvRpcReply,
	s3Get,
	sendMsg,
	sendReply,
	sendRpc,
} from "headstart";

type Step =
	| ["get", bucket: string, key: string]
	| ["await", bucket: string, key: string]
	| ["count", number: number, bucket: string, key: string]
	| ["say", id: string, text: string]
	| ["expect", count: number]
	| ["expectMsg", id: string]
	| ["sleep", ms: number]
	| ["throw", text: string]
	| ["exit", status: number]
	| ["spin"];

export default async function main(): Promise<void> {
	const { script = [] } = inputJson<{ script?: Step[] }>();
	for (const step of script) await run(step);
}

async function run(step: Step): Promise<void> {
	switch (step[0]) {
		case "get":
			s3Get(connect(`s3://${step[1]}`), step[2]);
			return;
		case "await": {
			const bucket = connect(`s3://${step[1]}`);
			await recvRpcReply(bucket, s3Get(bucket, step[2]));
			return;
		}
		case "count": {
			const id = BigInt(step[1]);
			sendRpc(connect(`s3://${step[2]}`), id, `GET /${step[3]}\n\n`);
			sendReply(id, id);
			return;
		}
		case "say":
			sendMsg(step[1], step[2]);
			return;
		case "expect":
			expect(step[1]);
			return;
		case "expectMsg":
			expectMsg(step[1]);
			return;
		case "sleep":
			await new Promise((resolve) => setTimeout(resolve, step[1]));
			return;
		case "throw":
			throw new Error(step[1]);
		case "exit":
			exit(step[1]);
			return;
		case "spin":
			for (;;);
	}
}
