import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readSchema } from "../model.ts";
import { readMethods, wasmParameters } from "./mapping.ts";
import { emitRunner } from "./runner.ts";

let folder = "";
beforeAll(async () => {
	folder = await mkdtemp(join(tmpdir(), "hs-schema-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function schemaOf(body: string): Promise<ReturnType<typeof readSchema>> {
	const text = `@0xa5c1e83f0d2b9001;\nannotation blocks @0xf3b1d5a7092c4e01 (method) :Void;\n${body}`;
	await writeFile(join(folder, "test.capnp"), text);
	return readSchema(folder, ["test.capnp"]);
}

test("the API's own signatures", () => {
	const schema = readSchema(join(import.meta.dirname, "../.."), ["initscript.capnp", "errors.capnp"]);
	const methods = readMethods(schema);
	const signatures = Object.fromEntries(methods.map((it) => [it.name, wasmParameters(it).join(" ")]));
	expect(signatures).toMatchObject({
		connect: "i32 i32",
		sendRpc: "i32 i64 i32 i32",
		recvRpcReply: "i32 i64 i32",
		readReply: "i64 i32 i32 i32",
		input: "i32 i32",
		exit: "i32",
	});
	expect(methods.filter((it) => it.blocks).map((it) => it.name)).toEqual([
		"recvRpcReply",
		"readReply",
		"recvMsg",
		"readMsg",
		"getConn",
	]);
});

test("the fields of a result are naturally aligned", async () => {
	const schema = await schemaOf(`
		struct Mixed { a @0 :UInt32; b @1 :UInt64; c @2 :UInt32; }
		interface Initscript { get @0 () -> (it :Mixed) $blocks; }`);
	const [method] = readMethods(schema);
	expect(method?.result).toMatchObject({
		struct: { bytes: 24, fields: [{ offset: 0 }, { offset: 8 }, { offset: 16 }] },
	});
	expect(() => emitRunner(schema)).not.toThrow();
});

test("a type without a rule is refused, by name", async () => {
	const refused = async (signature: string): Promise<() => unknown> => {
		const schema = await schemaOf(`interface Initscript { call @0 ${signature}; }`);
		return () => readMethods(schema);
	};
	expect(await refused("(flag :Bool) -> ()")).toThrow(/call\.flag: no rule maps a parameter of type bool/);
	expect(await refused("() -> (list :List(Text))")).toThrow(/call: no rule maps a result of type list/);
	expect(await refused("() -> (a :UInt32, b :UInt32)")).toThrow(/call: a method has at most one result/);
});
