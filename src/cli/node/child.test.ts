import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { Supervised } from "./child.ts";
import { until } from "./wait.ts";

function alive(pid: number | undefined): boolean {
	try {
		return pid !== undefined && process.kill(pid, 0);
	} catch {
		return false;
	}
}

test("a program that dies is started again, and stays ended once it was stopped", async () => {
	const lines: string[] = [];
	const program = { name: "sleeper", command: "sleep", args: ["100"] };
	const child = new Supervised(program, (from, line) => lines.push(`${from}: ${line}`));
	const first = await until("the first", 2_000, async () => child.pid);
	process.kill(first, "SIGKILL");
	const second = await until("the second", 2_000, async () => (child.pid === first ? undefined : child.pid));
	expect(lines).toEqual(["sleeper: ended with SIGKILL; starting it again in 50 ms"]);
	expect(child.restarts).toBe(1);
	await child.stop(1_000);
	await sleep(200);
	expect([alive(second), child.restarts]).toEqual([false, 1]);
});

test("one that ignores SIGTERM is killed after its grace", async () => {
	const child = new Supervised(
		{ name: "deaf", command: "sh", args: ["-c", "trap '' TERM; echo up; exec sleep 100"] },
		() => up(),
	);
	let up: () => void = () => undefined;
	await new Promise<void>((resolve) => {
		up = resolve;
	});
	const { pid } = child;
	await child.stop(200);
	expect(alive(pid)).toBe(false);
});

test("programs end with the process that supervises them", async () => {
	const script = `
		import { Supervised } from ${JSON.stringify(import.meta.resolve("./child.ts"))};
		const child = new Supervised({ name: "orphan", command: "sleep", args: ["100"] }, () => undefined);
		console.log(child.pid);
	`;
	const parent = spawn(process.execPath, ["--input-type=module", "-e", script], {
		stdio: ["ignore", "pipe", "inherit"],
	});
	const [line] = await once(parent.stdout, "data");
	const pid = Number(String(line));
	expect(alive(pid)).toBe(true);
	await sleep(100);
	parent.kill("SIGKILL");
	await once(parent, "exit");
	await until("the end of the orphan", 2_000, async () => !alive(pid) || undefined);
});
