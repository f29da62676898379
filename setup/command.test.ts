import { expect, test } from "vitest";
import { command } from "./command.ts";
import { SetupError } from "./step.ts";

test("a command that fails is shown with the end of its output", async () => {
	const failed = command("thing", "sh", ["-c", "echo why; exit 3"]);
	await expect(failed).rejects.toThrow(/^why\nthing failed: "sh -c echo why; exit 3" ended with status 3$/);
	await expect(command("thing", "/nowhere/program", [])).rejects.toThrow(SetupError);
});

test("a command that does not end is given up, though its own programs go on", async () => {
	const script = "sleep 30 & echo $!; wait";
	const error = await command("thing", "sh", ["-c", script], { minutes: 0.005 }).catch((error) => error);
	const [pid] = error.message.split("\n");
	process.kill(Number(pid), "SIGKILL");
	expect(error.message).toMatch(/did not end within 0.005 minutes: see whether the network works/);
});
