import { execFile } from "node:child_process";
import { copyFile, cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { stringify, type TomlTable } from "smol-toml";
import { cargoEnv } from "../../setup/steps/rust.ts";
import { deploy } from "../../src/cli/deploy/deploy.ts";
import type { TestNode } from "./node.ts";
import type { Isolation } from "./probe.ts";

const run = promisify(execFile);
const root = join(import.meta.dirname, "../..");
const probes = join(root, "test/functions/clients");

/** The languages that have a client. */
export const languages = ["python", "c", "rust", "node"] as const;
export type Language = (typeof languages)[number];

const commands: Record<Language, string[]> = {
	python: ["python3", "-m", "headstart.runtime", "probe:handler"],
	c: ["/app/probe"],
	rust: ["/app/probe"],
	node: ["headstart-runtime", "probe.mjs"],
};

/** Puts the application of a probe into a folder, built. */
async function build(language: Language, folder: string): Promise<void> {
	const target = join(folder, "probe");
	switch (language) {
		case "c": {
			const sources = [join(probes, "c/probe.c"), join(root, "clients/c/headstart_client.c")];
			const flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread"];
			await run("cc", [...flags, `-I${join(root, "clients/c")}`, ...sources, "-o", target]);
			return;
		}
		case "rust":
			await run("cargo", ["build", "--locked", "-q", "-p", "headstart", "--example", "probe"], {
				cwd: root,
				env: cargoEnv,
				timeout: 300_000,
			});
			await copyFile(join(root, "target/debug/examples/probe"), target);
			return;
		default:
			await cp(join(probes, language), folder, { recursive: true });
	}
}

/** What a probe's headstart.toml says beside its name, language and isolation. */
export interface ProbeOptions {
	app?: TomlTable;
	egress?: string[];
	/** By default `LANGUAGE-ISOLATION`. */
	name?: string;
	/** The path of another initscript than the probes' own. */
	initscript?: string;
}

/** Deploys a client's probe. */
export async function deployClient(
	{ client }: TestNode,
	language: Language,
	isolation: Isolation,
	options: ProbeOptions = {},
): Promise<void> {
	const { app = {}, egress = ["GET s3://inputs/*", "PUT s3://results/*"] } = options;
	const { name = `${language}-${isolation}`, initscript = join(probes, "initscript.ts") } = options;
	const main = basename(initscript);
	const folder = await mkdtemp(join(tmpdir(), "hst-client-"));
	try {
		await build(language, folder);
		await copyFile(initscript, join(folder, main));
		const manifest = {
			name,
			app: {
				isolation,
				command: commands[language],
				limits: { memory: "256MiB", timeout: "20s", event: "16MiB", answer: "16MiB" },
				...app,
			},
			initscript: { main, limits: { results: "24MiB" } },
			egress: { allow: egress },
			secrets: { s3: "dev-store" },
		};
		await writeFile(join(folder, "headstart.toml"), stringify(manifest));
		await deploy(folder, client);
	} finally {
		await rm(folder, { recursive: true });
	}
}

/** An answer of a client's probe: a line for each step that gives one. */
export interface ProbeAnswer {
	status: number;
	instance: string;
	lines: string[];
	/** The whole body. */
	body: string;
}

/** How long a probe lets its initscript go ahead, ms: a claim before the script has said what to expect is a miss. */
const AHEAD = 250;

/** Has a probe do steps, and its initscript the other ones, or what is in its part of the event. */
export async function askClient(
	{ client }: TestNode,
	name: string,
	steps: (string | number)[][],
	script: unknown[][] | { [name: string]: unknown } = [],
	query = "cold=1",
): Promise<ProbeAnswer> {
	const head = Array.isArray(script) ? { script } : script;
	const all = Array.isArray(script) && script.length > 0 ? [["sleep", AHEAD], ...steps] : steps;
	const body = [JSON.stringify(head), "---", ...all.map((step) => step.join("\t"))].join("\n");
	const answer = await client.send(`/v1/functions/${name}/invocations?${query}`, {
		method: "POST",
		body,
		signal: AbortSignal.timeout(30_000),
	});
	const text = await answer.text();
	return {
		status: answer.status,
		instance: answer.headers.get("x-headstart-instance") ?? "",
		lines: text.split("\n").slice(0, -1),
		body: text,
	};
}
