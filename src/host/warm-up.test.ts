/// <reference types="@cloudflare/vitest-plugin/types" />
import { env as bindings } from "cloudflare:workers";
import { expect, test } from "vitest";
import type { Env } from "../shared/env.ts";
import { readied, warmUp } from "./warm-up.ts";

test("a warm-up that failed is tried again", async () => {
	let tried = 0;
	const bridge = {
		connect: () => {
			tried += 1;
			throw new Error("the bridge is away");
		},
	};
	const env = { ...(bindings as unknown as Env), BRIDGE: bridge as unknown as Fetcher };
	await expect(warmUp(env)).rejects.toThrow();
	await expect(warmUp(env)).rejects.toThrow();
	expect(tried).toBe(2);
});

test("the initscripts of runners that outlived the host are readied, then others' up to four tenants'", () => {
	const all = new Set(["a", "b", "c", "d", "e", "f"]);
	expect(readied(all, new Set())).toEqual(["a", "b", "c", "d"]);
	expect(readied(all, new Set(["f", "gone"]))).toEqual(["f", "a", "b", "c"]);
	expect(readied(all, new Set(["b", "c", "d", "e", "f"]))).toEqual(["b", "c", "d", "e", "f"]);
});
