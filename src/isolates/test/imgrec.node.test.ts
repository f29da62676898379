import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildInitscript } from "../../build/index.ts";
import { fnv1a64 } from "../script/id.ts";
import { Rig } from "./harness.ts";

const imgrec = join(import.meta.dirname, "../../../apps/imgrec");
let rig: Rig;
beforeAll(async () => {
	rig = await Rig.start();
}, 30_000);
afterAll(() => rig?.stop());

const model = String(fnv1a64("GET s3://models/efficientnet-lite0.onnx"));
const photo = String(fnv1a64("GET s3://inputs/my%20photo.png"));

test.each(["initscript.ts", "initscript.c", "initscript.as.ts", "initscript.rs"])(
	"%s fetches model and photo",
	async (name) => {
		const built = await buildInitscript(join(imgrec, name));
		const script = built.format === "js" ? { source: built.source } : { wasm: built.bytes };
		for (const event of [{ bucket: "inputs", key: "my photo.png" }, { key: "my photo.png" }]) {
			const { outcome, ops, batches } = await rig.run(script, { input: JSON.stringify(event) });
			expect([ops, batches]).toEqual([[], []]);
			expect(outcome).toEqual({
				ok: {
					end: "exit",
					status: 0,
					ops: [
						{ op: "expect", count: 2 },
						{ op: "connect", conn: 1, address: "s3://models" },
						{ op: "sendRpc", conn: 1, rpc: model, request: "GET /efficientnet-lite0.onnx\n\n" },
						{ op: "sendReply", id: model, rpc: model },
						{ op: "connect", conn: 2, address: "s3://inputs" },
						{ op: "sendRpc", conn: 2, rpc: photo, request: "GET /my%20photo.png\n\n" },
						{ op: "sendReply", id: photo, rpc: photo },
					],
				},
			});
		}
	},
);
