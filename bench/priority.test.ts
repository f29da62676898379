import { spawn } from "node:child_process";
import { once } from "node:events";
import { constants, getPriority } from "node:os";
import { expect, test } from "vitest";
import { standAside } from "./priority.ts";

test("a program that stands for another machine has the lowest priority", async () => {
	const child = spawn("sleep", ["10"]);
	await once(child, "spawn");
	const ended = once(child, "exit");
	try {
		await standAside(child.pid ?? 0);
		expect(getPriority(child.pid)).toBe(constants.priority.PRIORITY_LOW);
	} finally {
		child.kill();
		await ended;
	}
});
