// Fetches the model and the photo that the event names, while the application's sandbox is being set up.
import { connect, expect, inputJson, s3Get } from "headstart";

interface Event {
	bucket?: string;
	key: string;
}

export default function main(): void {
	expect(2);
	s3Get(connect("s3://models"), "efficientnet-lite0.onnx");

	const { bucket = "inputs", key } = inputJson<Event>();
	s3Get(connect(`s3://${bucket}`), key);
}
