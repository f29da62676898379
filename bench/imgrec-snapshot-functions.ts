/** imgrec-snapshot, for Figure 15 and its test: an initialised function that each start goes on from. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import type { NodeClient } from "../src/cli/client.ts";
import { type Deployed, deploy } from "../src/cli/deploy/deploy.ts";
import { built, inRoot } from "../src/cli/paths.ts";
import { MODEL } from "./imgrec-functions.ts";
import { presign, type Signer } from "./presign.ts";
import { merged, staged } from "./stage.ts";
import type { Objects } from "./store.ts";

const APP = inRoot("apps/imgrec-snapshot");
/** The input: a cat, 10 MB. */
const BITMAP = "inputs/chelsea.bmp";
const MADE = join(built, "snapshot/chelsea.bmp");

/** The model and the input, which is made at the first use (half a second), and an object in the bucket of the results. */
export async function snapshotObjects(): Promise<Objects> {
	if (!existsSync(MADE)) {
		await mkdir(dirname(MADE), { recursive: true });
		const photo = join(built, "assets/inputs/chelsea.png");
		await promisify(execFile)("/usr/bin/python3", [inRoot("bench/bitmap.py"), photo, MADE], {
			env: { PYTHONPATH: join(built, "assets/site-packages") },
		});
	}
	return { [MODEL]: join(built, "assets", MODEL), [BITMAP]: MADE, "results/first.json": 0 };
}

/** What the function is asked: the class of the input, stored as `result` in the bucket "results" of the store at `output`. */
export function snapshotEvent(
	output: string,
	signer: Signer,
	result: string,
): { key: string; output: string } {
	return { key: "chelsea.bmp", output: presign("PUT", output, `results/${result}`, signer) };
}

/**
 * Deploys apps/imgrec-snapshot as `name`; `output` is the origin of the store that results go to, "http://host:port". Each name
 * has a snapshot of its own, made at its first start.
 */
export function deploySnapshot(
	client: NodeClient,
	output: string,
	{ name = "imgrec-snapshot", handler = "handler" } = {},
): Promise<Deployed> {
	const allow = [
		"GET s3://models/*",
		"GET s3://inputs/*",
		output.replace("http:", "tcp:"),
		`PUT ${output}/results/*`,
	];
	return staged(
		APP,
		(manifest) => {
			const command = ["python3", "-m", "headstart.runtime", `function:${handler}`];
			return merged(merged({ ...manifest, name }, "app", { command }), "egress", { allow });
		},
		(folder) => deploy(folder, client),
	);
}
