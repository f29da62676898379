// Tells the server what its input says, and fetches what it is to serve.
import { connect, expect, input, inputJson, s3Get, sendMsg } from "headstart";

export default function main(): void {
	expect(2);
	sendMsg("settings", input());
	const { key } = inputJson<{ key?: string }>();
	if (key !== undefined) s3Get(connect("s3://inputs"), key);
}
