import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { TomlTable } from "smol-toml";
import { merged, staged } from "../../bench/stage.ts";
import type { NodeClient } from "../../src/cli/client.ts";
import { deploy } from "../../src/cli/deploy/deploy.ts";

const files = join(import.meta.dirname, "../functions/hostile");

/** A function of the attacker's. */
export interface Hostile {
	name: string;
	/** The initscript: its file's ending says its language. */
	script?: { file: string; content: string | Uint8Array };
	/** The handler: "function:handler", or "attacks:handler" for a hostile application. */
	handler?: string;
	isolation?: "bubblewrap" | "gvisor";
	/** Whether the application may use the network by itself. */
	network?: boolean;
}

/** Deploys a hostile function. Throws what the node or the build says of it. */
export async function deployHostile(client: NodeClient, hostile: Hostile): Promise<void> {
	const { name, script, handler = "function:handler", isolation = "bubblewrap", network = false } = hostile;
	const change = (manifest: TomlTable): TomlTable => ({
		...merged({ ...manifest, name }, "app", {
			isolation,
			command: ["python3", "-S", "-m", "headstart.runtime", handler],
			network,
		}),
		...(script && {
			initscript: { main: script.file, on_failure: "fail", limits: { memory: "16MiB", deadline: "2s" } },
		}),
	});
	await staged(files, change, async (folder) => {
		if (script) await writeFile(join(folder, script.file), script.content);
		await deploy(folder, client);
	});
}

/** What an invocation came to. */
export interface Outcome {
	status: number;
	/** The error's code, when it has one. */
	code: string;
	message: string;
	/** The answer as JSON, when it is one. */
	answer: unknown;
	instance: string;
}

/** Longest wait for an attack's end, ms: no limit that contains it is longer. */
const PATIENCE = 20_000;

/** A cold invocation. */
export async function invoke(client: NodeClient, name: string, event: unknown = {}): Promise<Outcome> {
	const answer = await client.send(`/v1/functions/${name}/invocations?cold=1`, {
		method: "POST",
		body: JSON.stringify(event),
		signal: AbortSignal.timeout(PATIENCE),
	});
	const text = await answer.text();
	const parsed = parse(text);
	const { code = "", message = "" } = (parsed ?? {}) as { code?: string; message?: string };
	return {
		status: answer.status,
		code: answer.status === 200 ? "" : code,
		message: answer.status === 200 ? "" : message,
		answer: parsed,
		instance: answer.headers.get("x-headstart-instance") ?? "",
	};
}

/** Runs a function's initscript alone, to its end. */
export async function runScript(client: NodeClient, name: string): Promise<Outcome> {
	const answer = await client.send(`/v1/functions/${name}/invocations?only=initscript`, {
		method: "POST",
		body: "{}",
		signal: AbortSignal.timeout(PATIENCE),
	});
	const text = await answer.text();
	const run = (parse(text) ?? {}) as {
		code?: string;
		message?: string;
		error?: { code: string; message: string };
	};
	const { code = "", message = "" } = run.error ?? run;
	return {
		status: answer.status,
		code,
		message,
		answer: run,
		instance: answer.headers.get("x-headstart-instance") ?? "",
	};
}

function parse(text: string): unknown {
	try {
		return JSON.parse(text);
	} catch {
		return undefined;
	}
}
