import { join } from "node:path";
import { expect, test } from "vitest";
import { errorTable } from "./errors.ts";
import { readSchema } from "./model.ts";
import { emitTypeScript } from "./typescript.ts";

const schema = readSchema(join(import.meta.dirname, ".."), [
	"bridge.capnp",
	"errors.capnp",
	"initscript.capnp",
]);

test("structs have their fields in the order of the source, unions their discriminants", () => {
	const op = schema.find("struct", "Op");
	expect(op.discriminantOffset).toBeTypeOf("number");
	expect(op.fields.slice(0, 3).map(({ name, discriminant }) => [name, discriminant])).toEqual([
		["connect", 0],
		["send", 1],
		["message", 2],
	]);
});

test("methods have their parameters, results, comments and annotations", () => {
	const { methods } = schema.find("interface", "Initscript");
	const receive = methods.find(({ name }) => name === "recvRpcReply");
	expect(receive?.params.fields.map(({ name }) => name)).toEqual(["conn", "rpc"]);
	expect(receive?.annotations).toEqual(["blocks"]);
	expect(receive?.doc).toContain("Waits until the reply is complete");
});

test("every error code has its row: a status, an errno and a hint", () => {
	const table = errorTable(schema);
	expect(table.map(({ number }) => number)).toEqual(table.map((_, index) => index));
	for (const { code, http, errno, hint } of table.slice(1)) {
		expect(http, code).toBeGreaterThanOrEqual(400);
		expect(errno, code).toBeGreaterThan(0);
		expect(hint, code).not.toBe("");
	}
});

test("what is not there is said by name", () => {
	expect(() => schema.find("struct", "Zeppelin")).toThrow("no struct Zeppelin");
});

test("the bridge's interfaces become clients", () => {
	const [file] = emitTypeScript(schema);
	expect(file?.text).toContain("export class BridgeClient");
	expect(file?.text).toContain("createInstance(params: BridgeCreateInstanceParams)");
});
