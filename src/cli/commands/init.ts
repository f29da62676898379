import { existsSync } from "node:fs";
import { cp, readFile, writeFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { Command } from "commander";
import { CliError } from "../errors.ts";

const template = join(import.meta.dirname, "../template");

/** `headstart init DIR`: a small application to start from. */
export function initCommand(): Command {
	return new Command("init")
		.description("Writes a small application with its initscript into a new folder")
		.argument("<dir>")
		.option("--json", "print JSON")
		.action(async (dir: string, { json }: { json?: true }) => {
			const folder = resolve(dir);
			const name = basename(folder);
			if (existsSync(folder)) throw new CliError(`${dir} is there already`, "choose a name that is not");
			if (!/^[a-z][a-z0-9-]{0,62}$/.test(name)) {
				throw new CliError(`"${name}" cannot be a function's name`, "use small letters, digits and dashes");
			}
			await cp(template, folder, { recursive: true });
			for (const file of ["headstart.toml", "README.md"]) {
				const path = join(folder, file);
				await writeFile(path, (await readFile(path, "utf8")).replaceAll("hello-headstart", name));
			}
			const next = `headstart dev ${dir}, then headstart invoke ${name} --data '{"name": "you"}'`;
			console.log(json ? JSON.stringify({ name, dir: folder }) : `${dir} is ready: ${next}`);
		});
}
