import { expect, test } from "vitest";
import { fnv1a64 } from "./id.ts";
import { escapePath } from "./path.ts";

test("ids are FNV-1a 64 of UTF-8", () => {
	expect(fnv1a64("")).toBe(0xcbf29ce484222325n);
	expect(fnv1a64("a")).toBe(0xaf63dc4c8601ec8cn);
	expect(fnv1a64("foobar")).toBe(0x85944171f73967e8n);
	expect(fnv1a64("é")).not.toBe(fnv1a64("e"));
});

test("keys are percent-encoded once", () => {
	expect(escapePath("a/b.png")).toBe("/a/b.png");
	expect(escapePath("//a")).toBe("/a");
	expect(escapePath("a b+%?#é~'()*!")).toBe("/a%20b%2B%25%3F%23%C3%A9~%27%28%29%2A%21");
	expect(() => escapePath("\ud800")).toThrow(URIError);
});
