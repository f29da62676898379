/** Writes the files generated from schema/initscript.capnp: `node schema/codegen/initscript/main.ts`. */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { readSchema } from "../model.ts";
import { emitInitscript } from "./index.ts";

const root = join(import.meta.dirname, "../../..");
const schema = readSchema(join(root, "schema"), ["initscript.capnp", "errors.capnp"]);
for (const [path, text] of emitInitscript(schema)) {
	const file = join(root, path);
	mkdirSync(dirname(file), { recursive: true });
	writeFileSync(file, text);
}
