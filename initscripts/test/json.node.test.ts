import { execFileSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const sdk = join(import.meta.dirname, "..");
let folder = "";

/** Programs that print the text under the key "key" of the JSON on their command line, or fail. */
const IN_C = `
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

const IN_RUST = `
#[path = "${join(sdk, "rust/json.rs")}"]
mod json;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    match json::text(&args[1], "key") {
        Some(text) => print!("{}", text),
        None => std::process::exit(1),
    }
}
`;

beforeAll(async () => {
	folder = await mkdtemp(join(tmpdir(), "hs-json-"));
	const [c, rust] = [join(folder, "c.c"), join(folder, "rust.rs")];
	await Promise.all([writeFile(c, IN_C), writeFile(rust, IN_RUST)]);
	execFileSync("clang", ["-O1", "-Wall", "-Werror", `-I${sdk}/c`, "-o", join(folder, "c"), c]);
	const options = ["--edition=2021", "-Clinker=clang", "-Dwarnings"];
	execFileSync("/usr/bin/rustc", [...options, "-o", join(folder, "rust"), rust]);
}, 30_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

const read = (program: string, json: string): string | undefined => {
	try {
		return execFileSync(join(folder, program), [json], { stdio: ["ignore", "pipe", "ignore"] }).toString();
	} catch {
		return undefined;
	}
};

const good: [string, string][] = [
	['{"key":"a.png"}', "a.png"],
	['  { "bucket" : "b" , "key" : "a" } ', "a"],
	['{"x":{"key":"inner"},"y":[1,-2.5e3,true,null,"]"],"key":"outer"}', "outer"],
	['{"key":""}', ""],
	['{"k\\u0065y":"escaped name"}', "escaped name"],
	['{"key":"a\\"\\\\\\/\\b\\f\\n\\r\\t"}', 'a"\\/\b\f\n\r\t'],
	['{"key":"\\u00e9\\u20ac\\ud83d\\ude00é"}', "é€😀é"],
	[`{"key":"${"x".repeat(63)}"}`, "x".repeat(63)],
	[`{"${"n".repeat(100)}":1,"key":"v"}`, "v"],
];

const bad = [
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
	'{"key":"a\nb"}',
	'{"other":,"key":"v"}',
	'{"other":[1,,2],"key":"v"}',
	'{"other":"v" "key":"v"}',
	`{"deep":${"[".repeat(100)}${"]".repeat(100)},"key":"v"}`,
];

describe.each(["c", "rust"])("in %s", (program) => {
	test.each(good)("reads %s", (json, expected) => {
		expect(read(program, json)).toBe(expected);
	});

	test.each(bad)("has no text for %s", (json) => {
		expect(read(program, json)).toBeUndefined();
	});
});

test.each(['{"key":"\\u0000"}', `{"key":"${"x".repeat(64)}"}`])("in C there is no room for %s", (json) => {
	expect(read("c", json)).toBeUndefined();
});
