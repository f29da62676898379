// Fetches the photo and the weights that the event names.
import { connect, expect, input, jsonText, jsonValue, log, s3Get } from "headstart";

export function headstart_main(): i32 {
	expect(2);
	const event = input();
	const places = jsonValue(event, "bucket");
	const names = jsonValue(event, "object");
	const bucket = jsonText(places, "bucket");
	const photos = jsonText(places, "input");
	const models = jsonText(places, "model");
	const photo = jsonText(names, "input");
	const model = jsonText(names, "model");
	if (bucket === null || photos === null || models === null || photo === null || model === null) {
		log("the event names no photo, or no weights");
		return 1;
	}
	const store = connect("s3://" + bucket);
	s3Get(store, models + "/" + model);
	s3Get(store, photos + "/" + photo);
	return 0;
}
