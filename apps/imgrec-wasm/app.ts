/**
 * Says what is in a photo, as apps/imgrec does, in an isolate: an ordinary function, which knows nothing of headstart.
 *
 * The event names the photo: {"bucket": "inputs", "key": "chelsea.png"}. The answer is its class of ImageNet.
 */
import { download } from "headstart/storage";
import { classesOf } from "./classes.ts";
import { type Engine, load, warmUp } from "./engine.ts";
import { decodePng } from "./png.ts";
import { prepare } from "./prepare.ts";

export interface Event {
	bucket?: string;
	key: string;
}

interface Class {
	label: string;
	score: number;
}

const MODEL = ["models", "efficientnet-lite0.onnx"] as const;

let known: { engine: Engine; classes: readonly string[] } | undefined;

/** Before the first event is there: what Python does when it imports a library. */
export async function setup(): Promise<void> {
	await warmUp();
}

export default async function handler({ bucket = "inputs", key }: Event): Promise<Class & { top5: Class[] }> {
	const photo = await download(bucket, key);
	const model = known === undefined ? await download(...MODEL) : undefined;
	console.log("mark: bytes ready");
	const image = prepare(decodePng(photo));
	if (model !== undefined) known = { engine: await load(model), classes: classesOf(model) };
	if (known === undefined) throw new Error("there is no model");
	console.log("mark: inference begins");
	const scores = await known.engine.run(image);
	console.log("mark: inference ends");
	return best(scores, known.classes);
}

function best(scores: Float32Array, classes: readonly string[]): Class & { top5: Class[] } {
	const order = [...scores.keys()].sort((a, b) => (scores[b] ?? 0) - (scores[a] ?? 0)).slice(0, 5);
	const top5 = order.map((index) => ({
		label: classes[index] ?? String(index),
		score: Math.round((scores[index] ?? 0) * 1e4) / 1e4,
	}));
	const [first] = top5;
	if (first === undefined) throw new Error("the model has no classes");
	return { ...first, top5 };
}
