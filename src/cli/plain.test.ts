import { expect, test } from "vitest";
import { readable } from "./commands/logs.ts";
import { plain, plainLine, plainTexts } from "./plain.ts";
import { renderTrace } from "./trace/render.ts";

const HOSTILE = "a\u001b]52;c;aGk=\u0007\u009b2J\rb\u007f";
const SPELLED = "a\\x1b]52;c;aGk=\\x07\\x9b2J\\x0db\\x7f";

test("what a terminal would obey is spelled out", () => {
	expect(plain(`${HOSTILE}\n\tc é 🌍`)).toBe(`${SPELLED}\n\tc é 🌍`);
	expect(plainLine("a\nb")).toBe("a\\nb");
	expect(plainTexts({ a: [HOSTILE], b: 1 })).toEqual({ a: [SPELLED], b: 1 });
});

test("no log line and no trace brings it to the terminal", () => {
	const line = JSON.stringify({
		time: 0,
		source: "app",
		instance: "i-1",
		text: `${HOSTILE}\n2026 bridge: forged`,
	});
	expect(readable(line)).toBe(`1970-01-01T00:00:00.000Z app i-1 ${SPELLED}\\n2026 bridge: forged`);
	expect(readable(HOSTILE)).toBe(SPELLED);
	const drawn = renderTrace(
		{
			id: "i-1",
			function: "f",
			digest: "",
			mode: "normal",
			state: "ended",
			startedAt: 0,
			invocations: 1,
			events: [
				{ at: 1, kind: "received" },
				{ at: 2, kind: "mark", text: HOSTILE },
				{ at: 3, kind: "answerBegun", id: "1" },
			],
			scriptLines: [],
			unclaimed: [{ id: "1", content: HOSTILE, bytes: 1 }],
			missed: [],
			divergences: 0,
			script: {
				end: "trap",
				error: { code: "initscriptTrapped", message: HOSTILE },
				stack: `Error\n at ${HOSTILE}`,
			},
		},
		{ width: 80, color: false },
	);
	expect(drawn).toContain(SPELLED);
	expect(drawn).not.toMatch(/(?!\n)\p{Cc}/u);
});
