import { expect, test } from "vitest";
import { HeadstartError } from "./error.ts";
import { parseManifest } from "./manifest.ts";

const least = { name: "imgrec", app: { command: ["python3"] } };

function withFiles(files: object): object {
	return { ...least, app: { ...least.app, files } };
}

function refusal(input: unknown): { code: string; message: string; hint: string } {
	try {
		parseManifest(input);
	} catch (error) {
		if (error instanceof HeadstartError) return error.body();
		throw error;
	}
	throw new Error("it was accepted");
}

test("defaults are filled in; sizes become bytes and durations milliseconds", () => {
	const manifest = parseManifest({ ...least, initscript: { main: "a.ts", limits: { deadline: "1.5s" } } });
	expect(manifest.app).toMatchObject({ isolation: "gvisor", base: "host", keep_alive: 60_000 });
	expect(manifest.app.limits).toMatchObject({ memory: 512 << 20, timeout: 30_000, cpu: 2 });
	expect(manifest.initscript).toMatchObject({
		on_failure: "fallback",
		limits: { deadline: 1500, memory: 16 << 20 },
	});
});

test("an initscript has a source or is an artifact, or both", () => {
	const of = (initscript: object): unknown => parseManifest({ ...least, initscript }).initscript;
	const artifact = "registry.test:5000/init:1";
	expect(of({ artifact })).toMatchObject({ artifact, on_failure: "fallback" });
	expect(of({ main: "a.ts", artifact })).toMatchObject({ main: "a.ts", artifact });
	expect(refusal({ ...least, initscript: {} }).message).toContain("neither its main nor its artifact");
	expect(refusal({ ...least, initscript: { artifact: "init" } }).message).toContain("registry/name");
});

test("files have a size", () => {
	const { app } = parseManifest(withFiles({ "/var/cache/memcached.data": { size: "256MiB" } }));
	expect(app.files).toEqual({ "/var/cache/memcached.data": { size: 256 << 20 } });
});

test("an unknown key is refused with the nearest known one", () => {
	expect(refusal({ ...least, egres: {} })).toMatchObject({
		code: "invalidArgument",
		message: "unknown key egres",
		hint: 'Did you mean "egress"?',
	});
	expect(refusal({ name: "x", app: { command: ["a"], limits: { memroy: "1MiB" } } })).toMatchObject({
		message: "unknown key app.limits.memroy",
		hint: 'Did you mean "memory"?',
	});
	expect(refusal({ ...least, initscript: { main: "a.ts", zzzzzz: 1 } }).hint).toContain("on_failure");
	expect(refusal({ name: "x", app: { comand: ["a"] } })).toMatchObject({
		message: "unknown key app.comand",
		hint: 'Did you mean "command"?',
	});
});

test.each([
	[{ app: { command: ["a"] } }, "name is missing"],
	[{ name: "x", app: {} }, "app.command: the program"],
	[{ name: "X", app: { command: ["a"] } }, "name: 1 to 63"],
	[withFiles({ "/etc/passwd": { size: "1MiB" } }), "app.files./etc/passwd: a path below /tmp"],
	[withFiles({ "/tmp/../x": { size: "1MiB" } }), "a path below /tmp"],
	[withFiles({ "/tmp/x": { size: "0B" } }), "app.files./tmp/x.size: a size from"],
	[withFiles({ "/tmp/x": {} }), "app.files./tmp/x.size"],
	[withFiles({ "/tmp/x": { size: "1MiB", mode: 1 } }), "unknown key app.files./tmp/x.mode"],
	[withFiles({ "/tmp/x": { size: "2GiB" } }), "initscript.limits.results allows"],
	[{ name: "x", app: { command: [] } }, "app.command: the program"],
	[{ name: "x", app: { command: ["a\0b"] } }, "app.command.0: a NUL"],
	[{ name: "x", app: { command: ["a"], env: { A: "\0" } } }, "app.env.A: a NUL"],
	[
		{ name: "x", app: { command: ["a"], limits: { memory: "12 parsecs" } } },
		"app.limits.memory: a size from",
	],
	[{ name: "x", app: { command: ["a"], limits: { timeout: 3 } } }, "app.limits.timeout: a duration"],
	[{ name: "x", app: { command: ["a"], isolation: "docker" } }, "app.isolation"],
	[
		{ name: "x", app: { isolation: "snapshot", command: ["a"], network: true } },
		"app.network: a function with snapshots has none",
	],
	[
		{ name: "x", app: { isolation: "snapshot", command: ["a"] }, service: {} },
		"service: a function with snapshots has none",
	],
	[
		{ name: "x", app: { isolation: "snapshot", command: ["a"], files: { "/tmp/a": { size: "1MiB" } } } },
		'app.files: there are none in isolation "snapshot"',
	],
	[{ name: "x", app: { isolation: "wasm" } }, "app.main: an isolate has a main module"],
	[{ name: "x", app: { isolation: "wasm", main: "a.ts", image: "r/a" } }, "app.main: an isolate has"],
	[{ name: "x", app: { isolation: "wasm", main: "a.wasm" } }, "a .ts or .js file was expected"],
	[
		{ name: "x", app: { isolation: "wasm", main: "a.ts", command: ["a"] } },
		"app.command: an isolate has none",
	],
	[
		{ name: "x", app: { isolation: "wasm", main: "a.ts", network: true } },
		"app.network: an isolate has none",
	],
	[{ name: "x", app: { isolation: "wasm", main: "a.ts" }, service: {} }, "service: an isolate has none"],
	[{ name: "x", app: { command: ["a"], main: "a.ts" } }, "app.main is an isolate's"],
	["nonsense", "headstart.toml"],
])("%j is refused by name", (input, message) => {
	expect(refusal(input).message).toContain(message);
});

test("what is handed to unmodified programs are addresses", () => {
	const app = { command: ["python3"], preload: ["redis://db:6379", "tcp://[::1]:7"] };
	expect(parseManifest({ name: "x", app }).app.preload).toEqual(app.preload);
	expect(parseManifest(least).app.preload).toEqual([]);
	for (const wrong of ["db:6379", "tcp://", "tcp://h:1,tcp://i:1", "tcp://h:1/x", "tcp://u@h:1"]) {
		expect(refusal({ name: "x", app: { ...app, preload: [wrong] } }).message).toContain("app.preload.0");
	}
});
