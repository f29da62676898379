import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse, stringify, type TomlTable } from "smol-toml";
import { deploy } from "../../src/cli/deploy/deploy.ts";
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
	egress?: string[];
	/** Further files of the application, or other contents. */
	files?: Record<string, string>;
}

/** Deploys test/functions/probe under another name, changed. */
export async function deployProbe({ client }: TestNode, variant: Variant): Promise<void> {
	const folder = await mkdtemp(join(tmpdir(), "hst-probe-"));
	try {
		await cp(probe, folder, { recursive: true });
		const path = join(folder, "headstart.toml");
		await writeFile(path, stringify(changed(parse(await readFile(path, "utf8")), variant)));
		for (const [name, text] of Object.entries(variant.files ?? {})) await writeFile(join(folder, name), text);
		await deploy(folder, client);
	} finally {
		await rm(folder, { recursive: true });
	}
}

function changed(manifest: TomlTable, variant: Variant): TomlTable {
	const { name, isolation, onFailure = "fallback", limits = {}, scriptLimits = {}, egress } = variant;
	const table = (value: unknown): TomlTable =>
		typeof value === "object" && value !== null ? (value as TomlTable) : {};
	const app = table(manifest.app);
	return {
		...manifest,
		name,
		app: { ...app, isolation, limits: { ...table(app.limits), ...limits } },
		initscript: { ...table(manifest.initscript), on_failure: onFailure, limits: scriptLimits },
		...(egress ? { egress: { allow: egress } } : {}),
	};
}

/** What the probe is to do: its event. */
export interface Event {
	app?: unknown[][];
	script?: unknown[][];
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

/** Invokes a probe. `query`: "cold=1", "mode=noInitscript", … */
export async function invoke(
	{ client }: TestNode,
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
