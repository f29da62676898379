import type { ManifestInput } from "../../shared/manifest.ts";
import type { InstanceRecord } from "../../shared/record.ts";
import { failure, type NodeClient } from "../client.ts";
import { fetchRecord } from "../commands/trace.ts";
import { CliError } from "../errors.ts";
import type { RunningNode } from "../node/node.ts";
import { until } from "../node/wait.ts";
import { beginning } from "../trace/spans.ts";

/** One cold start of the image recognition. */
export interface Start {
	label: string;
	/** 0 to 1. */
	score: number;
	/** The request → the application begins inference, ns. */
	nanos: number;
	record: InstanceRecord;
}

/** The mark that apps/imgrec prints when all is there. */
const READY = "inference begins";

/** Invokes the function in a fresh instance, and waits until that has ended. */
export async function startOnce(client: NodeClient, key: string, query: string): Promise<Start> {
	const answer = await client.send(`/v1/functions/imgrec/invocations?${query}`, {
		method: "POST",
		body: JSON.stringify({ key }),
		headers: { "x-headstart-sent": String(process.hrtime.bigint()) },
	});
	if (!answer.ok) throw await failure(answer);
	const { label, score } = (await answer.json()) as { label: string; score: number };
	const instance = answer.headers.get("x-headstart-instance") ?? "";
	const record = await until(`the end of ${instance}`, 20_000, async () => {
		const found = await fetchRecord(client, instance);
		return found.state === "running" || found.state === "warm" ? undefined : found;
	});
	const ready = record.events.find(({ kind, text }) => kind === "mark" && text?.includes(READY));
	if (!ready) throw new CliError(`instance ${instance} has no mark "${READY}"`);
	return { label, score, nanos: ready.at - beginning(record.events), record };
}

/** For the start without headstart: the application's own network and credentials. */
export function withCredentials(input: ManifestInput, { store }: RunningNode): ManifestInput {
	if (!store) throw new CliError("the node runs without a store");
	const env = {
		...input.app.env,
		HEADSTART_S3_ENDPOINT: store.endpoint,
		AWS_ACCESS_KEY_ID: store.accessKey,
		AWS_SECRET_ACCESS_KEY: store.secretKey,
		AWS_REGION: store.region,
	};
	return { ...input, app: { ...input.app, network: true, env } };
}
