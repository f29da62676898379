/** `npm run generate`: compiles `schema/*.capnp` and writes all that is generated from it. Idempotent. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { emitC } from "./c.ts";
import type { Emitter } from "./emitter.ts";
import { emitErrors } from "./errors.ts";
import { emitInitscript } from "./initscript/index.ts";
import { readSchema } from "./model.ts";
import { emitPython } from "./python.ts";
import { emitRust } from "./rust.ts";
import { emitTypeScript } from "./typescript.ts";

const emitters: Emitter[] = [emitTypeScript, emitErrors, emitPython, emitC, emitRust, emitInitscript];

const root = join(import.meta.dirname, "..", "..");
const schema = readSchema(join(root, "schema"), [
	"bridge.capnp",
	"errors.capnp",
	"initscript.capnp",
	"app.capnp",
]);
for (const emit of emitters) {
	for (const file of emit(schema)) writeIfChanged(join(root, file.path), file.text);
}

function writeIfChanged(path: string, text: string): void {
	if (read(path) === text) return;
	mkdirSync(dirname(path), { recursive: true });
	writeFileSync(path, text);
	console.log(`generated ${path.slice(root.length + 1)}`);
}

function read(path: string): string | undefined {
	try {
		return readFileSync(path, "utf8");
	} catch {
		return undefined;
	}
}
