// Fetches the model and the photo that the event names, while the application's sandbox is being set up.
import { connect, expect, input, jsonText, log, s3Get } from "headstart";

export function headstart_main(): i32 {
	expect(2);
	s3Get(connect("s3://models"), "efficientnet-lite0.onnx");

	const event = input();
	const key = jsonText(event, "key");
	if (key === null) {
		log("the event names no photo");
		return 1;
	}
	const bucket = jsonText(event, "bucket");
	s3Get(connect("s3://" + (bucket === null ? "inputs" : bucket)), key);
	return 0;
}
