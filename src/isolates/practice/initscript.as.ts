// What the runner practises with (../wasm/practice.ts): an initscript as they are, for nobody.
import { connect, expect, input, jsonText, log, s3Get } from "headstart";

export function headstart_main(): i32 {
	expect(2);
	s3Get(connect("s3://models"), "weights.onnx");

	const event = input();
	const key = jsonText(event, "key");
	if (key === null) {
		log("the event names nothing");
		return 1;
	}
	const bucket = jsonText(event, "bucket");
	s3Get(connect("s3://" + (bucket === null ? "inputs" : bucket)), key);
	return 0;
}
