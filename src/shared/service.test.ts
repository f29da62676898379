import { describe, expect, test } from "vitest";
import { parseManifest } from "./manifest.ts";
import { isOver, newServiceId } from "./service.ts";

const base = { name: "s", app: { command: ["server"] } };

describe("[service]", () => {
	test("has defaults", () => {
		expect(parseManifest({ ...base, service: { port: 7000 } }).service).toEqual({
			port: 7000,
			ready_timeout: 30_000,
			restart: "on-failure",
			max_restarts: 5,
			backoff: 100,
			stop_signal: "SIGTERM",
			stop_grace: 10_000,
		});
		expect(parseManifest(base).service).toBeUndefined();
	});

	test.each([
		[{ port: 0 }, "service.port"],
		[{ port: 70_000 }, "service.port"],
		[{ ready: {} }, "one of port, file and message"],
		[{ ready: { port: 1, file: "/x" } }, "one of port, file and message"],
		[{ ready: { file: "relative" } }, "absolute path"],
		[{ ready: { message: "" } }, "service.ready.message"],
		[{ restart: "sometimes" }, "service.restart"],
		[{ stop_signal: "SIGSTOP" }, "service.stop_signal"],
		[{ prot: 1 }, "unknown key service.prot"],
	])("%o is refused: %s", (service, message) => {
		expect(() => parseManifest({ ...base, service })).toThrow(message);
	});
});

describe("[initscript.share]", () => {
	const shared = (share: unknown): unknown =>
		parseManifest({ ...base, initscript: { main: "x.ts", share } }).initscript?.share;

	test("shares between those at one time, unless it has a ttl", () => {
		expect(shared({ allow: ["GET s3://b/*"] })).toEqual({ allow: ["GET s3://b/*"], ttl: 0 });
		expect(shared({ allow: ["GET s3://b/*"], ttl: "1m" })).toMatchObject({ ttl: 60_000 });
	});

	test.each([{}, { allow: [] }, { allow: ["GET s3://b/*"], ttl: "2h" }, { allow: ["x"], age: 1 }])(
		"%o is refused",
		(share) => {
			expect(() => shared(share)).toThrow();
		},
	);
});

test("ids of services are unlike, and their ends are known", () => {
	expect(newServiceId()).toMatch(/^s-[a-z2-7]{20}$/);
	expect(newServiceId()).not.toBe(newServiceId());
	expect((["starting", "ready", "restarting", "stopping"] as const).map(isOver)).not.toContain(true);
	expect(isOver("stopped") && isOver("failed")).toBe(true);
});
