import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isValid } from "../../test/instance.ts";
import { randomModule } from "../../test/random-module.ts";
import { wat } from "../../test/wat.ts";
import { ModuleError } from "../reader.ts";
import { meter } from "./index.ts";

describe("a module that is cut off or damaged", () => {
	const bytes = wat(randomModule(5, 3).text);
	/** A ModuleError, or a module that the engine takes only when it takes the original. */
	const check = (damaged: Uint8Array): void => {
		let metered: Uint8Array;
		try {
			metered = meter(damaged);
		} catch (thrown) {
			if (thrown instanceof ModuleError) return;
			throw thrown;
		}
		if (isValid(metered)) expect(isValid(damaged)).toBe(true);
	};

	test("anywhere", () => {
		for (let length = 0; length < bytes.length; length += 1) check(bytes.subarray(0, length));
	});

	test("by a byte", () => {
		for (let at = 8; at < bytes.length; at += 1) {
			for (const byte of [0x00, 0x01, 0x0b, 0x40, 0x7f, 0x80, 0xff, 0xfc, 0xfd]) check(bytes.with(at, byte));
		}
	}, 60_000);

	test("in any other way", () => {
		const changes = fc.array(fc.record({ at: fc.nat(bytes.length - 1), byte: fc.nat(255) }), {
			maxLength: 5,
		});
		fc.assert(
			fc.property(changes, (all) => {
				const damaged = bytes.slice();
				for (const { at, byte } of all) damaged[at] = byte;
				check(damaged);
			}),
			{ numRuns: 3_000 },
		);
	}, 60_000);
});
