import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readModule } from "../isolates/wasm/module.ts";
import { buildInitscript, languageOf } from "./index.ts";
import { buildRust } from "./rust.ts";

const apps = join(import.meta.dirname, "../../apps");
let folder = "";
beforeAll(async () => {
	folder = await mkdtemp(join(tmpdir(), "hs-build-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function file(name: string, content: string | Uint8Array): Promise<string> {
	const path = join(folder, name);
	await writeFile(path, content);
	return path;
}

describe("image recognition's initscripts are small", () => {
	test.each([
		["imgrec/initscript.ts", 4096],
		["imgrec/initscript.c", 8192],
		["imgrec/initscript.as.ts", 8192],
		["imgrec/initscript.rs", 20_480],
		["imgrec-py/initscript.ts", 4096],
		["imgrec-py/initscript.c", 8192],
	])("%s", async (name, bytes) => {
		expect((await buildInitscript(join(apps, name))).size).toBeLessThanOrEqual(bytes);
	});
});

test("what a file is written in", () => {
	const languages = ["a.ts", "a.js", "a.mjs", "a.as.ts", "a.c", "a.rs", "a.wasm"].map((it) => languageOf(it));
	expect(languages).toEqual([
		"typescript",
		"typescript",
		"typescript",
		"assemblyscript",
		"c",
		"rust",
		"wasm",
	]);
	expect(() => languageOf("a.py")).toThrow(/a\.py: an initscript is/);
});

describe("TypeScript", () => {
	test("becomes one module without the API", async () => {
		await file("key.ts", "export const key = (n: number): string => n.toString(36);");
		const path = await file(
			"a.ts",
			'import { expect } from "headstart"; import { key } from "./key.ts"; export default () => expect(key(1).length);',
		);
		const built = await buildInitscript(path);
		if (built.format !== "js") throw new Error("not a bundle");
		expect(built.source).toContain('from"headstart"');
		expect(built.digest).toBe(createHash("sha256").update(built.source).digest("hex"));
		expect(JSON.parse(built.sourceMap)).toMatchObject({ version: 3 });
	});

	test("says where it does not compile", async () => {
		await expect(buildInitscript(await file("bad.ts", "\nexport default ("))).rejects.toThrow(/bad\.ts:2:16/);
		await expect(buildInitscript(await file("lost.ts", 'import "./gone.ts";'))).rejects.toThrow(/gone\.ts/);
		await expect(buildInitscript(join(folder, "missing.ts"))).rejects.toThrow(/missing\.ts/);
	});
});

describe("C and AssemblyScript", () => {
	test("say where they do not compile", async () => {
		await expect(buildInitscript(await file("bad.c", "int x = ;"))).rejects.toThrow(/bad\.c:1:9/);
		await expect(buildInitscript(join(folder, "missing.c"))).rejects.toThrow(/missing\.c is not there/);
		await expect(
			buildInitscript(await file("bad.as.ts", "export function headstart_main(): i32 { return y; }")),
		).rejects.toThrow(/Cannot find name 'y'/);
	});

	test("top-level statements run before the entry, not in a start section", async () => {
		const path = await file(
			"top.as.ts",
			'import { log } from "headstart"; log("top"); export function headstart_main(): void {}',
		);
		const built = await buildInitscript(path);
		expect(built.format).toBe("wasm");
	});

	test("an undefined function is a linker's error, and no main function one of ours", async () => {
		await expect(
			buildInitscript(
				await file("u.c", '#include "headstart.h"\nint f(void); HEADSTART_MAIN { return f(); }'),
			),
		).rejects.toThrow(/undefined symbol: f/);
		await expect(buildInitscript(await file("m.c", "int x;"))).rejects.toThrow(/headstart_main/);
	});
});

describe("Rust", () => {
	test("says where it does not compile", async () => {
		await expect(buildInitscript(await file("bad.rs", "fn main() { x }"))).rejects.toThrow(/bad\.rs:1:13/);
		await expect(buildInitscript(join(folder, "missing.rs"))).rejects.toThrow(/missing\.rs is not there/);
		await expect(buildInitscript(await file("none.rs", "pub fn f() {}"))).rejects.toThrow(/headstart_main/);
	});

	test("without a compiler for WebAssembly says what to install", async () => {
		const path = await file("c.rs", "headstart::main!(run); fn run() {}");
		await expect(buildRust(path, ["no-such-rustc"])).rejects.toThrow(/apt-get install rustc/);
	});
});

describe("a module", () => {
	test("gets a bound on its memory, and no other change", async () => {
		const path = await file("a.wasm", MINIMAL);
		const built = await buildInitscript(path, { memoryBytes: 1 << 20 });
		if (built.format !== "wasm") throw new Error("not a module");
		expect(readModule(built.bytes).memory).toMatchObject({ minimumPages: 1, maximumPages: 16 });
		const again = await buildInitscript(await file("b.wasm", built.bytes), { memoryBytes: 1 << 20 });
		expect(again.digest).toBe(built.digest);
	});

	test("that breaks a rule is refused", async () => {
		await expect(buildInitscript(await file("c.wasm", "no module"))).rejects.toThrow(/c\.wasm cannot run/);
		await expect(buildInitscript(await file("d.wasm", MINIMAL), { memoryBytes: 1 })).rejects.toThrow(
			/at most 1$/,
		);
		await expect(buildInitscript(join(folder, "missing.wasm"))).rejects.toThrow(/cannot be read/);
	});
});

/** (module (memory (export "memory") 1) (func (export "headstart_main"))) */
const MINIMAL = new Uint8Array([
	0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0, 5, 3, 1, 0, 1, 7, 27, 2, 6, 0x6d, 0x65,
	0x6d, 0x6f, 0x72, 0x79, 2, 0, 14, 0x68, 0x65, 0x61, 0x64, 0x73, 0x74, 0x61, 0x72, 0x74, 0x5f, 0x6d, 0x61,
	0x69, 0x6e, 0, 0, 10, 4, 1, 2, 0, 0x0b,
]);
