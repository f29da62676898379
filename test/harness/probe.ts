import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse, stringify, type TomlTable } from "smol-toml";
import { deploy } from "../../src/cli/deploy/deploy.ts";
import type { DevStore } from "../../src/cli/node/dev-store.ts";
import { until } from "../../src/cli/node/wait.ts";
import type { TestNode } from "./node.ts";

const probe = join(import.meta.dirname, "../functions/probe");

export type Isolation = "bubblewrap" | "gvisor";

/** Changes of the probe's headstart.toml. */
export interface Variant {
	name: string;
	isolation: Isolation;
	onFailure?: "fallback" | "fail";
	limits?: TomlTable;
	scriptLimits?: TomlTable;
	/** [initscript.share] */
	share?: TomlTable;
	egress?: string[];
	/** The initscript in place of initscript.ts. */
	main?: string;
	/** The initscript in a registry. */
	artifact?: string;
	/** The sandbox's files from a registry. */
	image?: string;
	/** [app.files] */
	shared?: TomlTable;
	/** Gives the application what it needs in mode=direct: the store's address, credentials, and a way there. */
	direct?: true;
	/** Further files of the application, or other contents. */
	files?: Record<string, string | Uint8Array>;
}

/** Deploys test/functions/probe under another name, changed. */
export async function deployProbe(
	{ client, node }: Pick<TestNode, "client" | "node">,
	variant: Variant,
): Promise<void> {
	const folder = await mkdtemp(join(tmpdir(), "hst-probe-"));
	try {
		await cp(probe, folder, { recursive: true });
		const path = join(folder, "headstart.toml");
		const app = variant.direct && node.store ? withStore(node.store) : {};
		await writeFile(path, stringify(changed(parse(await readFile(path, "utf8")), variant, app)));
		for (const [name, content] of Object.entries(variant.files ?? {}))
			await writeFile(join(folder, name), content);
		await deploy(folder, client);
	} finally {
		await rm(folder, { recursive: true });
	}
}

/** What [app] needs for the application's own client. */
function withStore({ endpoint, accessKey, secretKey, region }: DevStore): TomlTable {
	return {
		network: true,
		env: {
			HEADSTART_S3_ENDPOINT: endpoint,
			AWS_ACCESS_KEY_ID: accessKey,
			AWS_SECRET_ACCESS_KEY: secretKey,
			AWS_REGION: region,
		},
	};
}

function changed(manifest: TomlTable, variant: Variant, more: TomlTable): TomlTable {
	const {
		name,
		isolation,
		onFailure = "fallback",
		limits = {},
		scriptLimits = {},
		egress,
		main,
		artifact,
		image,
		share,
		shared,
	} = variant;
	const table = (value: unknown): TomlTable =>
		typeof value === "object" && value !== null ? (value as TomlTable) : {};
	const app = table(manifest.app);
	return {
		...manifest,
		name,
		app: {
			...app,
			...more,
			isolation,
			...(image === undefined ? {} : { image }),
			...(shared === undefined ? {} : { files: shared }),
			limits: { ...table(app.limits), ...limits },
		},
		initscript: {
			...table(manifest.initscript),
			...(main === undefined ? {} : { main }),
			...(artifact === undefined ? {} : { artifact }),
			...(share === undefined ? {} : { share }),
			on_failure: onFailure,
			limits: scriptLimits,
		},
		...(egress ? { egress: { allow: egress } } : {}),
	};
}

/** What the probe is to do: its event. */
export interface Event {
	app?: unknown[][];
	script?: unknown[][];
	/** What initscript.c does. */
	mode?: string;
}

/** An answer of the probe. */
export interface Answer {
	status: number;
	instance: string;
	/** When the application's process started, ns of its own clock: tells one process from another. */
	process: number;
	/** What each step of the application gave. */
	steps: unknown[];
	/** The whole body, parsed. */
	body: { code?: string; message?: string; hint?: string };
}

/** Invokes until that is right again. */
export function recovers(
	node: Pick<TestNode, "client">,
	name: string,
	event: Event,
	query?: string,
): Promise<Answer> {
	return until("an invocation", 30_000, async () => {
		const answer = await invoke(node, name, event, query).catch(() => undefined);
		return answer?.status === 200 ? answer : undefined;
	});
}

/** Invokes a probe. `query`: "cold=1", "mode=noInitscript", … */
export async function invoke(
	{ client }: Pick<TestNode, "client">,
	name: string,
	event: Event,
	query = "cold=1",
): Promise<Answer> {
	const answer = await client.send(`/v1/functions/${name}/invocations?${query}`, {
		method: "POST",
		body: JSON.stringify(event),
		signal: AbortSignal.timeout(30_000),
	});
	const text = await answer.text();
	let body: Answer["body"] & { process?: number; steps?: unknown[] };
	try {
		body = JSON.parse(text);
	} catch {
		throw new Error(`status ${answer.status}: ${text.slice(0, 500)}`);
	}
	return {
		status: answer.status,
		instance: answer.headers.get("x-headstart-instance") ?? "",
		process: body.process ?? 0,
		steps: body.steps ?? [],
		body,
	};
}
