import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";

export const root = join(import.meta.dirname, "..");
const stamps = join(root, ".headstart/stamps");

/**
 * Remembers that a step was done with these inputs, so that it is skipped until one of them changes or an output is gone.
 * Inputs are files and folders of the checkout; folders count with all in them but hidden files and what is built.
 */
export class Stamp {
	readonly #name: string;
	readonly #inputs: readonly string[];
	readonly #outputs: readonly string[];

	constructor(name: string, inputs: readonly string[], outputs: readonly string[]) {
		this.#name = name;
		this.#inputs = inputs;
		this.#outputs = outputs;
	}

	async fresh(): Promise<boolean> {
		if (!this.#outputs.every((output) => existsSync(join(root, output)))) return false;
		const path = join(stamps, this.#name);
		return existsSync(path) && (await readFile(path, "utf8")) === (await hash(this.#inputs));
	}

	async set(): Promise<void> {
		await mkdir(stamps, { recursive: true });
		await writeFile(join(stamps, this.#name), await hash(this.#inputs));
	}
}

async function hash(inputs: readonly string[]): Promise<string> {
	const digest = createHash("sha256");
	for (const input of inputs) await add(digest, input);
	return digest.digest("hex");
}

async function add(digest: ReturnType<typeof createHash>, path: string): Promise<void> {
	const full = join(root, path);
	if (!existsSync(full)) return;
	if ((await stat(full)).isDirectory()) {
		const names = (await readdir(full)).filter(
			(name) => !/^\.|^(target|dist|node_modules|__pycache__)$/.test(name),
		);
		for (const name of names.sort()) await add(digest, join(path, name));
	} else {
		const content = await readFile(full);
		digest.update(`${path}\0${content.length}\0`).update(content);
	}
}
