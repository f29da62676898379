import { expect, test } from "vitest";
import { readable } from "./logs.ts";

test("lines of instances, of the bridge, and what is no JSON", () => {
	const line = { at: 5, instance: "i-a", source: "app", stream: "stderr", text: "oh no", time: 0 };
	expect(readable(JSON.stringify(line))).toBe("1970-01-01T00:00:00.000Z app stderr i-a oh no");
	const event = {
		timestamp: "now",
		level: "INFO",
		fields: { message: "ready", socket: "/s" },
		target: "bridge::run",
	};
	expect(readable(JSON.stringify(event))).toBe("now INFO ready socket=/s");
	expect(readable("plain text")).toBe("plain text");
	expect(readable("3")).toBe("3");
});
