/** The names of functions, for stacks. */
import { sections } from "../module.ts";
import { ModuleError } from "../reader.ts";
import type { Space } from "./space.ts";
import { Writer } from "./writer.ts";

const FUNCTION_NAMES = 1;

/** The functions' names with their new numbers, as a custom section; undefined where there are none that can be read. */
export function moveNames(bytes: Uint8Array, space: Space): Writer | undefined {
	for (const { id, content } of sections(bytes)) {
		if (id !== 0) continue;
		try {
			if (content.name() !== "name") continue;
			while (!content.done) {
				const kind = content.byte();
				const part = content.part(content.u32());
				if (kind !== FUNCTION_NAMES) continue;
				const list = new Writer();
				const count = part.u32();
				list.u32(count);
				for (let left = count; left > 0; left -= 1) {
					list.u32(space.function(part.u32()));
					list.name(part.name());
				}
				const out = new Writer();
				out.name("name");
				out.byte(FUNCTION_NAMES);
				out.vector(list.written);
				return out;
			}
		} catch (thrown) {
			// Custom sections cannot make a module wrong.
			if (!(thrown instanceof ModuleError)) throw thrown;
		}
	}
	return undefined;
}
