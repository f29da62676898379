/** onnxruntime's WebAssembly build, single-threaded, from the module that the isolate has compiled. */

import compiled from "onnxruntime-web/ort-wasm-simd-threaded.wasm";
import * as ort from "onnxruntime-web/wasm";
import { SIZE } from "./prepare.ts";
import tiny from "./warm-up.bin";

/** A network that is ready to run. */
export interface Engine {
	/** Probabilities of the classes for an image of 1×3×224×224. */
	run(image: Float32Array): Promise<Float32Array>;
}

// An isolate compiles no bytes; what onnxruntime would compile is here already.
const instantiate = WebAssembly.instantiate;
Object.assign(WebAssembly, {
	instantiate: async (_bytes: BufferSource, imports: WebAssembly.Imports) => ({
		module: compiled,
		instance: await instantiate(compiled, imports),
	}),
});
ort.env.wasm.wasmBinary = new ArrayBuffer(1);
ort.env.wasm.numThreads = 1;

/** The model was optimised when it was made, so not again here. */
const OPTIONS: ort.InferenceSession.SessionOptions = {
	executionProviders: ["wasm"],
	graphOptimizationLevel: "disabled",
	enableCpuMemArena: false,
};

export async function load(model: Uint8Array, size = SIZE): Promise<Engine> {
	const session = await ort.InferenceSession.create(model, OPTIONS);
	return {
		async run(image): Promise<Float32Array> {
			const { probabilities } = await session.run({
				image: new ort.Tensor("float32", image, [1, 3, size, size]),
			});
			if (!(probabilities?.data instanceof Float32Array)) throw new TypeError("the model gives no numbers");
			return probabilities.data;
		},
	};
}

/**
 * Instantiates the engine and runs a network of a few numbers through it (warm-up.py), with layers of all the kinds that the
 * real one has: V8 compiles a function of WebAssembly when it is first called.
 */
export async function warmUp(): Promise<void> {
	const size = 16;
	const engine = await load(new Uint8Array(tiny), size);
	await engine.run(new Float32Array(3 * size * size));
}
