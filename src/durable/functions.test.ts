import { expect, test } from "vitest";
import type { DeployedFunction } from "../shared/function.ts";
import { parseManifest } from "../shared/manifest.ts";
import { Functions } from "./functions.ts";

const version = (digest: string): DeployedFunction => ({
	tenant: "t",
	digest,
	manifest: parseManifest({ name: "f", app: { command: ["true"] } }),
	bundle: "sha256:00",
	deployedAt: 1,
});

test("what was read does not come back when it was removed meanwhile, nor in the place of what was deployed", () => {
	const functions = new Functions();
	let { changes } = functions;
	functions.drop("t", "f");
	functions.putRead(version("old"), changes);
	expect(functions.named("t", "f")).toBeUndefined();
	changes = functions.changes;
	functions.dropAll("t");
	functions.putRead(version("old"), changes);
	expect(functions.named("t", "f")).toBeUndefined();
	changes = functions.changes;
	functions.put(version("new"));
	functions.putRead(version("old"), changes);
	expect(functions.named("t", "f")?.digest).toBe("new");
	functions.drop("t", "f");
	functions.putRead(version("read"), functions.changes);
	expect(functions.named("t", "f")?.digest).toBe("read");
});
