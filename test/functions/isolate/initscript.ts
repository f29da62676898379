// Sends what its input names: objects of the bucket "inputs", and messages of its own.
import { connect, expectMsg, inputJson, receive, s3Get, sendMsg } from "headstart";

interface Input {
	objects?: string[];
	messages?: Record<string, string>;
	/** An id under which the application sends something; it is sent back. */
	echo?: string;
}

export default async function main(): Promise<void> {
	const { objects = [], messages = {}, echo } = inputJson<Input>();
	const inputs = connect("s3://inputs");
	for (const key of objects) s3Get(inputs, key);
	for (const [id, text] of Object.entries(messages)) sendMsg(id, text);
	if (echo === undefined) return;
	expectMsg(`${echo} again`);
	sendMsg(`${echo} again`, await receive(echo));
}
