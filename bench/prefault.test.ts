import { expect, it } from "vitest";
import { prefaultCpuMs } from "./prefault.ts";

it("counts CPU time", async () => {
	expect(await prefaultCpuMs(16 << 20)).toBeGreaterThanOrEqual(0);
});
