// Fetches the photo that the event names.
// The upload takes the same connection afterwards, which is kept.
import { connect, expect, input, jsonText, jsonValue, log, s3Get } from "headstart";

export function headstart_main(): i32 {
	expect(1);
	const event = input();
	const places = jsonValue(event, "bucket");
	const bucket = jsonText(places, "bucket");
	const folder = jsonText(places, "input");
	const key = jsonText(jsonValue(event, "object"), "key");
	if (bucket === null || folder === null || key === null) {
		log("the event names no input");
		return 1;
	}
	const store = connect("s3://" + bucket);
	s3Get(store, folder + "/" + key);
	return 0;
}
