/** Modules written as text, for tests: what no compiler would make. */
import binaryen from "assemblyscript/binaryen";

/** @param names says whether the names of functions stay. */
export function wat(text: string, { names = false } = {}): Uint8Array {
	const module = binaryen.parseText(text);
	try {
		binaryen.setDebugInfo(names);
		module.setFeatures(binaryen.Features.All);
		return module.emitBinary();
	} finally {
		module.dispose();
	}
}

/** A module with the given imports (`(import …)`) and body of its main function, one page of memory, and some data. */
export function script(imports: string, body: string, data = ""): Uint8Array {
	const segment = data === "" ? "" : `(data (i32.const 0) "${data}")`;
	return wat(`(module
		${imports}
		(memory (export "memory") 1 4)
		${segment}
		(func (export "headstart_main") (result i32) ${body}))`);
}

const PARAMETERS = {
	connect: "i32 i32",
	sendRpc: "i32 i64 i32 i32",
	recvRpcReply: "i32 i64 i32",
	readReply: "i64 i32 i32 i32",
	sendMsg: "i64 i32 i32",
	expectMsg: "i64",
	readMsg: "i64 i32 i32 i32",
	transferConn: "i64 i32 i32 i32",
	getConn: "i64 i32 i32",
	input: "i32 i32",
	log: "i32 i32",
	exit: "i32",
} as const;

/** The declarations of calls, each as the function of its own name. */
export function declare(...names: (keyof typeof PARAMETERS)[]): string {
	return names
		.map((name) => `(import "headstart" "${name}" (func $${name} (param ${PARAMETERS[name]}) (result i32)))`)
		.join("\n");
}
