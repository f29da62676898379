import { execFileSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";

const sdk = join(import.meta.dirname, "../c");
let folder = "";
let reader = "";

/** Prints the text under the key "key" of the JSON on its command line, or fails. */
const PROGRAM = `
#include <stdio.h>
#include <string.h>
#include "headstart_json.h"
int main(int count, char **args)
{
	char out[64];
	int32_t length = count == 2 ? hs_json_text(args[1], strlen(args[1]), "key", out, sizeof out) : -1;
	if (length < 0)
		return 1;
	return fwrite(out, 1, length, stdout) != (size_t)length;
}
`;

beforeAll(async () => {
	folder = await mkdtemp(join(tmpdir(), "hs-json-"));
	reader = join(folder, "reader");
	await writeFile(join(folder, "reader.c"), PROGRAM);
	execFileSync("clang", ["-O1", "-Wall", "-Werror", `-I${sdk}`, "-o", reader, join(folder, "reader.c")]);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const read = (json: string): string | undefined => {
	try {
		return execFileSync(reader, [json], { stdio: ["ignore", "pipe", "ignore"] }).toString();
	} catch {
		return undefined;
	}
};

test.each([
	['{"key":"a.png"}', "a.png"],
	['  { "bucket" : "b" , "key" : "a" } ', "a"],
	['{"x":{"key":"inner"},"y":[1,-2.5e3,true,null,"]"],"key":"outer"}', "outer"],
	['{"key":""}', ""],
	['{"k\\u0065y":"escaped name"}', "escaped name"],
	['{"key":"a\\"\\\\\\/\\b\\f\\n\\r\\t"}', 'a"\\/\b\f\n\r\t'],
	['{"key":"\\u00e9\\u20ac\\ud83d\\ude00é"}', "é€😀é"],
	[`{"key":"${"x".repeat(63)}"}`, "x".repeat(63)],
	[`{"${"n".repeat(100)}":1,"key":"v"}`, "v"],
])("reads %s", (json, expected) => {
	expect(read(json)).toBe(expected);
});

test.each([
	"",
	"[]",
	'"key"',
	"{}",
	'{"key":1}',
	'{"key":null}',
	'{"key":"cut off',
	'{"key":"a\\x"}',
	'{"key":"\\ud83d"}',
	'{"key":"\\ud83d\\u0041"}',
	'{"key":"\\u12g4"}',
	'{"key":"\\u0000"}',
	'{"key":"a\nb"}',
	'{"other":,"key":"v"}',
	'{"other":[1,,2],"key":"v"}',
	'{"other":"v" "key":"v"}',
	`{"key":"${"x".repeat(64)}"}`,
	`{"deep":${"[".repeat(100)}${"]".repeat(100)},"key":"v"}`,
])("has no text for %s", (json) => {
	expect(read(json)).toBeUndefined();
});
