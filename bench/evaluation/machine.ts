/** What the benchmark ran on. */
import { readFile } from "node:fs/promises";
import { cpus, release, totalmem } from "node:os";

export interface Machine {
	cpu: string;
	cores: number;
	memory_gb: number;
	kernel: string;
	system: string;
	node: string;
}

export async function machine(): Promise<Machine> {
	const all = cpus();
	const about = await readFile("/etc/os-release", "utf8").catch(() => "");
	return {
		cpu: all[0]?.model ?? "unknown",
		cores: all.length,
		memory_gb: Math.round(totalmem() / 1e9),
		kernel: release(),
		system: /^PRETTY_NAME="?([^"\n]*)/m.exec(about)?.[1] ?? "unknown",
		node: process.version,
	};
}
