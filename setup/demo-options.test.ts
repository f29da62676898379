import { basename, dirname } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { demoOptions } from "./demo-options.ts";

beforeEach(() => {
	vi.stubEnv("INIT_CWD", import.meta.dirname);
});

afterEach(() => {
	vi.unstubAllEnvs();
});

test("a photo is found from where npm was called", () => {
	const here = basename(import.meta.filename);
	expect(demoOptions([])).toEqual({ image: undefined, json: false });
	expect(demoOptions(["--image", here, "--json"])).toEqual({ image: import.meta.filename, json: true });
	expect(demoOptions(["--image", import.meta.filename]).image).toBe(import.meta.filename);
});

test("what is wrong is one line", () => {
	const usage = ": npm run demo -- [--image FILE] [--json]";
	const wrong = (...args: string[]): void => void demoOptions(args);
	expect(() => wrong("--imag", "x")).toThrow(`Unknown option '--imag'${usage}`);
	expect(() => wrong("x.jpg")).toThrow(/^Unexpected argument 'x\.jpg'.*: npm run demo/);
	expect(() => wrong("--image")).toThrow(/^Option '--image <value>' argument missing: npm run demo/);
	expect(() => wrong("--image", "nothing.jpg")).toThrow("there is no file nothing.jpg");
	expect(() => wrong("--image", dirname(import.meta.filename))).toThrow("is no file");
});
