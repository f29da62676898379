/**
 * Claims a task and fetches what the application will need for it, while its sandbox is being set up: the model, the photo that
 * the task names, and a connection to the store that the task's output is for.
 */
import {
	connect,
	expect,
	inputJson,
	readReply,
	recvRpcReply,
	s3Get,
	sendReply,
	sendRpc,
	transferConn,
} from "headstart";
import { sqs, sqsTasks } from "headstart/protocols";

interface Event {
	queue?: string;
}

interface Task {
	bucket: string;
	key: string;
	/** "http://host:port/…": where the output is to be stored. */
	output: string;
}

export default async function main(): Promise<void> {
	expect(4); // the task, the model, the photo, the connection
	const { queue = "jobs" } = inputJson<Event>();
	const address = `sqs://${queue}`;
	const jobs = connect(address);
	const claim = `RECEIVE ${address}/ReceiveMessage`;
	sendRpc(jobs, claim, sqs("ReceiveMessage", { MaxNumberOfMessages: 1 }));
	// The answer goes to the application as it comes, whatever becomes of this script.
	sendReply(claim, claim);
	s3Get(connect("s3://models"), "efficientnet-lite0.onnx");

	await recvRpcReply(jobs, claim);
	const [claimed] = sqsTasks(await readReply(claim, 0));
	if (claimed === undefined) return;
	const { bucket, key, output } = JSON.parse(claimed.body) as Task;
	s3Get(connect(`s3://${bucket}`), key);
	handOver(output);
}

/** Opens a connection to a URL's server, and hands it over under the name that the storage library asks by. */
function handOver(url: string): void {
	const [, scheme, authority] = /^(https?):\/\/([^/]+)\//.exec(url) ?? [];
	if (authority === undefined) throw new TypeError("the task's output is no URL");
	const tls = scheme === "https";
	const port = /:\d+$/.test(authority) ? "" : tls ? ":443" : ":80";
	const place = `${tls ? "tcps" : "tcp"}://${authority}${port}`;
	transferConn(`CONNECT ${place}`, place, connect(place));
}
