/** Hostile WebAssembly modules. */
import { wat } from "../../../src/isolates/test/wat.ts";
import { leb128 } from "../../../src/isolates/wasm/memory.ts";
import { type Case, type Stage, Uncontained } from "../case.ts";
import { deployHostile, runScript } from "../functions.ts";
import { ended } from "./scripts.ts";

interface Module {
	name: string;
	/** Text format, or the module's bytes. */
	module: string | (() => Uint8Array);
	/** The errors that may end it; "refused": the deploy may refuse it; "ok": it may end harmlessly. */
	ends: readonly string[];
}

const CPU = ["initscriptCpu", "initscriptDeadline"];

/** A module with a memory of one page that may grow, the imports that are named, and this code as its entry. */
const main = (code: string, imports = ""): string =>
	`(module ${imports} (memory (export "memory") 1) (func (export "headstart_main") (result i32) ${code}))`;
const SEND = '(import "headstart" "sendMsg" (func $send (param i64 i32 i32) (result i32)))';
const CONNECT = '(import "headstart" "connect" (func $connect (param i32 i32) (result i32)))';
const READ = '(import "headstart" "readReply" (func $read (param i64 i32 i32 i32) (result i32)))';

const MODULES: readonly Module[] = [
	{ name: "wasm: endless loop", module: main("(loop $l (br $l)) (i32.const 0)"), ends: CPU },
	{
		name: "wasm: endless recursion",
		module: `(module (memory (export "memory") 1) (func $f (result i32) (i32.add (call $f) (i32.const 1)))
			(func (export "headstart_main") (result i32) (call $f)))`,
		ends: ["initscriptTrapped", ...CPU],
	},
	{
		name: "wasm: memory.grow to the limit",
		module: main(`(loop $l (br_if $l (i32.ge_s (memory.grow (i32.const 1)) (i32.const 0))))
			(i32.gt_u (memory.size) (i32.const 256))`),
		ends: ["ok", "initscriptMemory"],
	},
	{
		name: "wasm: grow for ever",
		module: main("(loop $l (drop (memory.grow (i32.const 65535))) (br $l)) (i32.const 0)"),
		ends: CPU,
	},
	{
		name: "wasm: bulk-memory storm",
		module: `(module (memory (export "memory") 256) (func (export "headstart_main") (result i32)
			(loop $l (memory.fill (i32.const 0) (i32.const 1) (i32.const 16777216)) (br $l)) (i32.const 0)))`,
		ends: CPU,
	},
	{
		name: "wasm: a million sends",
		module: main(
			"(local $i i64) (loop $l (drop (call $send (local.get $i) (i32.const 0) (i32.const 1))) (local.set $i (i64.add (local.get $i) (i64.const 1))) (br_if $l (i64.lt_u (local.get $i) (i64.const 1000000)))) (i32.const 0)",
			SEND,
		),
		ends: ["initscriptMessages", "initscriptLimit", "initscriptBytes", ...CPU],
	},
	{
		name: "wasm: a million connections",
		module: main(
			"(local $i i32) (loop $l (drop (call $connect (i32.const 0) (i32.const 0))) (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if $l (i32.lt_u (local.get $i) (i32.const 1000000)))) (i32.const 0)",
			CONNECT,
		),
		ends: ["initscriptConnections", "initscriptLimit", ...CPU],
	},
	{
		name: "wasm: ranges that are negative or overlap the end",
		module: main(
			`(i32.and
				(i32.and (i32.lt_s (call $send (i64.const 1) (i32.const -1) (i32.const 16)) (i32.const 0))
					(i32.lt_s (call $send (i64.const 2) (i32.const 65530) (i32.const 100)) (i32.const 0)))
				(i32.and (i32.lt_s (call $send (i64.const 3) (i32.const 0) (i32.const -1)) (i32.const 0))
					(i32.lt_s (call $read (i64.const 9) (i32.const -1) (i32.const -16) (i32.const 100)) (i32.const 0)))) (i32.eqz)`,
			SEND + READ,
		),
		ends: ["ok"],
	},
	{
		name: "wasm: another instance's replies",
		module: main(
			`(local $i i64) (local $got i32)
			(loop $l (if (i32.ge_s (call $read (local.get $i) (i32.const 0) (i32.const 0) (i32.const 100)) (i32.const 0)) (then (local.set $got (i32.const 1))))
				(local.set $i (i64.add (local.get $i) (i64.const 1))) (br_if $l (i64.lt_u (local.get $i) (i64.const 100)))) (local.get $got)`,
			READ,
		),
		ends: ["ok"],
	},
	{
		name: "wasm: a start section that does not end",
		module: `(module (memory (export "memory") 1) (func $s (loop $l (br $l))) (start $s) (func (export "headstart_main") (result i32) (i32.const 0)))`,
		ends: ["refused"],
	},
	{
		name: "wasm: imports of what there is not",
		module: `(module (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32))) (memory (export "memory") 1)
			(func (export "headstart_main") (result i32) (i32.const 0)))`,
		ends: ["refused"],
	},
	{ name: "wasm: 64 MB", module: () => bigModule(64_000_000), ends: ["refused"] },
	{ name: "wasm: malformed", module: () => malformed(), ends: ["refused"] },
	{ name: "wasm: truncated", module: () => wat(main("(i32.const 0)")).slice(0, 40), ends: ["refused"] },
	{
		name: "wasm: a thousand nested blocks in ten thousand functions",
		module: () => manyFunctions(10_000, 1000),
		ends: ["ok", "refused", "initscriptCpu"],
	},
];

export const moduleCases: readonly Case[] = MODULES.map((module, number) => {
	const name = `wasm-${number}`;
	let refused: string | undefined;
	const deployIt = async ({ attacker }: Stage): Promise<string | undefined> => {
		const content = typeof module.module === "string" ? wat(module.module) : module.module();
		try {
			await deployHostile(attacker, { name, script: { file: "initscript.wasm", content } });
			return undefined;
		} catch (error) {
			const message = error instanceof Error ? error.message : String(error);
			if (module.ends.includes("refused")) return `refused: ${message.slice(0, 200)}`;
			throw new Uncontained(`the deploy was refused: ${message}`);
		}
	};
	return {
		name: module.name,
		async prepare(stage: Stage): Promise<string | undefined> {
			refused = await deployIt(stage);
			return refused;
		},
		async attack(stage: Stage): Promise<string> {
			if (refused !== undefined) return refused;
			if (module.ends.every((end) => end === "refused")) throw new Uncontained("the deploy took it");
			return ended(await runScript(stage.attacker, name), module.ends);
		},
	};
});

/** A valid module with a custom section that makes it so many bytes long. */
function bigModule(bytes: number): Uint8Array {
	const small = wat(main("(i32.const 0)"));
	const section = new Uint8Array(bytes);
	section[0] = 1;
	section[1] = 0x78;
	return Buffer.concat([small, Uint8Array.from([0, ...leb128(bytes)]), section]);
}

/** Its code section says that it has four thousand million functions. */
function malformed(): Uint8Array {
	const module = wat(main("(i32.const 0)"));
	return Buffer.concat([module, Uint8Array.from([10, 6, 0xff, 0xff, 0xff, 0xff, 0x0f, 0])]);
}

/** Functions of nothing but blocks in blocks. */
function manyFunctions(count: number, depth: number): Uint8Array {
	const body = [
		0,
		...Array<number>(depth)
			.fill([0x02, 0x40] as never)
			.flat(),
		...Array<number>(depth).fill(0x0b),
		0x41,
		0,
		0x0b,
	];
	const code = [...leb128(body.length), ...body];
	const section = (id: number, content: Uint8Array): Uint8Array =>
		Buffer.concat([Uint8Array.from([id, ...leb128(content.length)]), content]);
	const one = Uint8Array.from(code);
	const bodies = Buffer.concat(Array<Uint8Array>(count).fill(one));
	const text = (value: string): number[] => [value.length, ...Buffer.from(value)];
	return Buffer.concat([
		Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]),
		section(1, Uint8Array.from([1, 0x60, 0, 1, 0x7f])),
		section(3, Uint8Array.from([...leb128(count), ...Array<number>(count).fill(0)])),
		section(5, Uint8Array.from([1, 0, 1])),
		section(7, Uint8Array.from([2, ...text("memory"), 2, 0, ...text("headstart_main"), 0, 0])),
		section(10, Buffer.concat([Uint8Array.from(leb128(count)), bodies])),
	]);
}
