import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Evaluation } from "../evaluation/evaluate.ts";
import { printMarkdown } from "../evaluation/print.ts";
import { page } from "./page.ts";

/** Writes FOLDER/index.html, which needs no other file, FOLDER/results.json, and FOLDER/results.md for docs/evaluation.md. */
export async function writeReport(folder: string, evaluation: Evaluation): Promise<void> {
	await mkdir(folder, { recursive: true });
	await writeFile(join(folder, "results.json"), JSON.stringify(evaluation, undefined, "\t"));
	await writeFile(join(folder, "results.md"), `${printMarkdown(evaluation)}\n`);
	await writeFile(join(folder, "index.html"), page(evaluation));
	process.stderr.write(`report: ${join(folder, "index.html")}\n`);
}
