// The first part of the event, up to "\n---\n": {"script": [step, …]}. Each step is a list, its name first.
import { connect, expect, input, s3Get, sendMsg, sendReply, sendRpc } from "headstart";

type Step =
	| ["get", bucket: string, key: string]
	| ["reply", id: string, bucket: string, key: string]
	| ["say", id: string, text: string, times: number]
	| ["expect", count: number]
	| ["sleep", ms: number];

export default async function main(): Promise<void> {
	const [head] = new TextDecoder().decode(input()).split("\n---\n");
	const { script = [] } = JSON.parse(head || "{}") as { script?: Step[] };
	for (const step of script) await run(step);
}

let rpcs = 0n;

async function run(step: Step): Promise<void> {
	switch (step[0]) {
		case "get":
			s3Get(connect(`s3://${step[1]}`), step[2]);
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
	}
}

function idOf(text: string): bigint | string {
	return text.startsWith("#") ? BigInt(text.slice(1)) : text;
}
