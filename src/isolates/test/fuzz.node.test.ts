/** Damaged modules: the meter refuses them with a reason, or leaves them as valid as they were. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { damaged, hex, Random, rounds } from "../../../fuzz/mutate.ts";
import { meter } from "../wasm/meter/index.ts";
import { Writer } from "../wasm/meter/writer.ts";
import { sections } from "../wasm/module.ts";
import { ModuleError } from "../wasm/reader.ts";
import { isValid } from "./instance.ts";
import { randomModule } from "./random-module.ts";
import { wat } from "./wat.ts";

const corpus = join(import.meta.dirname, "../../../fuzz/corpus/meter");
const texts = readdirSync(corpus).map((name) => readFileSync(join(corpus, name), "utf8"));
const written = texts.map((text) => wat(text));
const named = texts.map((text) => wat(text, { names: true }));
const made = [1, 2, 3].map((seed) => wat(randomModule(seed, 3).text));

test.each([
	["written modules", written],
	["named modules", named],
	["made modules", [...made, ...written]],
])("%s, damaged", { timeout: 600_000 }, (name, seeds) => {
	const random = new Random(name.length);
	let metered = 0;
	for (let round = 0; round < rounds + seeds.length; round += 1) {
		const bytes = seeds[round] ?? damaged(random, seeds);
		const outcome = tried(bytes);
		if (outcome instanceof Uint8Array) {
			metered += 1;
			if (isValid(bytes) !== isValid(outcome) && isValid(plain(bytes)) !== isValid(outcome)) {
				expect.fail(`a module is valid only before or after it is metered: ${hex(bytes)}`);
			}
		} else if (!(outcome instanceof ModuleError)) {
			throw new Error(`${hex(bytes)} broke the meter`, { cause: outcome });
		}
	}
	expect(metered).toBeGreaterThan(seeds.length);
});

/** The metered module, or what was thrown. */
function tried(bytes: Uint8Array): unknown {
	try {
		return meter(bytes);
	} catch (error) {
		return error;
	}
}

/** Without custom sections, which the meter drops, malformed or not. */
function plain(bytes: Uint8Array): Uint8Array {
	const out = new Writer();
	out.bytes(bytes.subarray(0, 8));
	for (const { id, content } of sections(bytes)) {
		if (id === 0) continue;
		out.byte(id);
		out.vector(content.rest());
	}
	return out.written;
}
