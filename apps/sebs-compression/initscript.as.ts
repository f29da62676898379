// Lists the folder that the event names, and fetches what lies there: as many objects as the store says.
import { connect, expect, input, jsonText, jsonValue, log, s3Get, s3List } from "headstart";

export function headstart_main(): i32 {
	const event = input();
	const places = jsonValue(event, "bucket");
	const bucket = jsonText(places, "bucket");
	const folder = jsonText(places, "input");
	const key = jsonText(jsonValue(event, "object"), "key");
	if (bucket === null || folder === null || key === null) {
		log("the event names no folder");
		return 1;
	}
	const store = connect("s3://" + bucket);
	const keys = s3List(store, folder + "/" + key);
	let files = 0;
	for (let at = 0; at < keys.length; at++) {
		if (!keys[at].endsWith("/")) keys[files++] = keys[at];
	}
	expect(files);
	for (let at = 0; at < files; at++) s3Get(store, keys[at]);
	return 0;
}
