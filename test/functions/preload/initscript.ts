// Opens connections and hands them over: {"script": [["expect", count], ["transfer", id], …]}. An id is an address, which "#2"
// may follow. Something is said on each first, unless "!" ends its id.
import { connect, expect, inputJson, recvRpcReply, sendRpc, transferConn } from "headstart";

type Step = ["expect", count: number] | ["transfer", id: string];

/** What is said on a connection before it is handed over, by the address's kind. */
const GREETINGS: [prefix: string, framing: string, requests: string[]][] = [
	["redis:", "", ["AUTH secret", "CLIENT SETNAME script"]],
	["tcp:", "?frame=line", ["from the script"]],
];

export default async function main(): Promise<void> {
	const { script = [] } = inputJson<{ script?: Step[] }>();
	let rpc = 0n;
	for (const step of script) {
		if (step[0] === "expect") {
			expect(step[1]);
			continue;
		}
		const quiet = step[1].endsWith("!");
		const id = step[1].replace("!", "");
		const address = id.replace(/#.*/, "");
		const [, framing = "", requests = []] = GREETINGS.find(([prefix]) => address.startsWith(prefix)) ?? [];
		const conn = connect(`${address}${quiet ? "" : framing}`);
		if (!quiet) {
			for (const request of requests) sendRpc(conn, ++rpc, request);
			await recvRpcReply(conn, rpc);
		}
		transferConn(id, address, conn);
	}
}
