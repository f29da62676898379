import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";

/** Where a program is on PATH, or in the directories of system programs, which PATH may lack. */
export function findProgram(name: string): string | undefined {
	const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/local/sbin", "/usr/sbin", "/sbin"];
	return folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
}
