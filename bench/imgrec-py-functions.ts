import type { TomlTable } from "smol-toml";
import type { NodeClient } from "../src/cli/client.ts";
import { type Deployed, deploy } from "../src/cli/deploy/deploy.ts";
import type { DevStore } from "../src/cli/node/dev-store.ts";
import { inRoot } from "../src/cli/paths.ts";
import type { Isolation } from "./imgrec-functions.ts";
import { presign } from "./presign.ts";
import { ACCOUNT, type QueueSecret } from "./queue.ts";
import { merged, staged } from "./stage.ts";

export type PyFormat = "c" | "ts";

export const PY_FORMATS: readonly PyFormat[] = ["c", "ts"];

const APP = inRoot("apps/imgrec-py");
/** The queue that the application claims from unless its event names another. */
export const QUEUE = "jobs";
/** The secret that the queue's credentials are kept as. */
const SECRET = "dev-queue";

/** What imgrec-py works with. `output` is the origin of the store that results go to, "http://host:port". */
export interface Places {
	store: Pick<DevStore, "endpoint" | "accessKey" | "secretKey" | "region">;
	queue: QueueSecret;
	output: string;
}

/** A task: what the message in the queue says. */
export interface PyTask {
	bucket: string;
	key: string;
	output: string;
}

/** The task of recognising a photo in "inputs" and storing what it is as `result` in the bucket "results". */
export function taskFor({ store, output }: Places, key: string, result: string): PyTask {
	return { bucket: "inputs", key, output: presign("PUT", output, `results/${result}`, store) };
}

/** Gives the node the queue's credentials, as the secret that the application names. */
export async function keepQueueSecret(client: NodeClient, queue: QueueSecret): Promise<void> {
	await client.ask(`/v1/secrets/${SECRET}`, { method: "PUT", body: JSON.stringify(queue) });
}

/** The application's rules, for an output store at this origin. */
export function egressOf(output: string, queues: readonly string[] = [QUEUE]): string[] {
	return [
		...queues.flatMap((jobs) => [`RECEIVE sqs://${jobs}/*`, `DELETE sqs://${jobs}/*`]),
		...["GET s3://models/*", "GET s3://inputs/*"],
		...[output.replace("http://", "tcp://"), `PUT ${output}/results/*`],
	];
}

/** Where the application's own client finds the queue. */
export function queueEnv(queue: QueueSecret): TomlTable {
	return { HEADSTART_SQS_ENDPOINT: `${queue.endpoint}/${ACCOUNT}` };
}

/** How a deployed imgrec-py differs from the usual one. */
export interface Variant {
	name?: string;
	/** The queues that it may claim from. */
	queues?: readonly string[];
	/** Changes its files, in a copy of its folder. */
	edit?(folder: string): Promise<void>;
}

/**
 * Deploys apps/imgrec-py as `name`, and keeps the queue's credentials. It can do without the bridge, too: the store's and the
 * queue's credentials are in its environment, and its network leads there.
 */
export async function deployImgrecPy(
	client: NodeClient,
	places: Places,
	isolation: Isolation,
	format: PyFormat,
	{ name = "imgrec-py", queues = [QUEUE], edit }: Variant = {},
): Promise<Deployed> {
	const { store, queue, output } = places;
	await keepQueueSecret(client, queue);
	const allow = egressOf(output, queues);
	const env = {
		OPENBLAS_NUM_THREADS: "1",
		HEADSTART_S3_ENDPOINT: store.endpoint,
		...queueEnv(queue),
		AWS_ACCESS_KEY_ID: store.accessKey,
		AWS_SECRET_ACCESS_KEY: store.secretKey,
		AWS_REGION: store.region,
	};
	const change = (manifest: TomlTable): TomlTable => {
		const named = merged({ ...manifest, name, egress: { allow } }, "app", {
			...{ isolation, network: true, env },
		});
		return merged(named, "initscript", { main: `initscript.${format}` });
	};
	return staged(APP, change, async (folder) => {
		await edit?.(folder);
		return deploy(folder, client);
	});
}
