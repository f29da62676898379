// Fetches what the event's URL leads to, and opens the connection for the upload.
import { connect, expect, fnv1a64, input, jsonText, jsonValue, log, sendReply, sendRpc } from "headstart";

export function headstart_main(): i32 {
	expect(1);
	const event = input();
	const url = jsonText(jsonValue(event, "object"), "url");
	const bucket = jsonText(jsonValue(event, "bucket"), "bucket");
	if (url === null || bucket === null) {
		log("the event names no URL, or no bucket");
		return 1;
	}
	const host = url.indexOf("://") + 3;
	const path = url.indexOf("/", host);
	if (host < 3 || path < 0) {
		log("this is no URL with a path: " + url);
		return 1;
	}
	const id = fnv1a64("GET " + url);
	sendRpc(connect(url.substring(0, path)), id, "GET " + url.substring(path) + "\n\n");
	sendReply(id, id);
	connect("s3://" + bucket);
	return 0;
}
