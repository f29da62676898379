import { mkdir, mkdtemp, readFile, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { buildImage } from "./build.ts";
import { parseDefinition } from "./definition.ts";
import { addInitscript } from "./initscript.ts";
import { blobPath, createLayout, readManifest } from "./layout.ts";
import { parseTarget } from "./push.ts";

const work = await mkdtemp(join(tmpdir(), "hs-image-test-"));
afterAll(() => rm(work, { recursive: true }));

test("a definition says what is wrong with it", () => {
	const refusal = (source: string): string => {
		try {
			parseDefinition(source, "x.toml");
		} catch (error) {
			return error instanceof Error ? error.message : "";
		}
		return "";
	};
	expect(refusal("")).toContain("would be empty");
	expect(refusal('[debian]\npackages = ["Bad Name"]')).toContain("debian.packages.0");
	expect(refusal('[debian]\npackages = ["--a"]')).toContain("debian.packages.0");
	expect(refusal('[pypi]\npackages = ["--index-url=x"]')).toContain("pypi.packages.0");
	expect(refusal('[[files]]\nfrom = "a"\nto = "/a/../../b"')).toContain("files.0.to");
	expect(refusal('[[files]]\nfrom = "a"\nto = "b"')).toContain("files.0.to");
	expect(refusal("[")).toMatch(/^x\.toml:1:\d+/);
});

test("a target names its registry", () => {
	const target = { registry: "r.test:5000", name: "a/b-c", tag: "latest" };
	expect(parseTarget("r.test:5000/a/b-c")).toEqual(target);
	expect(parseTarget("r.test:5000/a/b-c:1.2")).toEqual({ ...target, tag: "1.2" });
	for (const text of ["a", "r.test/A", "r.test/a b", "http://r.test/a", "r.test/a:", "r.test/../a"])
		expect(() => parseTarget(text)).toThrow("no place in a registry");
});

test("an initscript's artifact is its bytes and what is said of them, the same whenever it is made", async () => {
	const bytes = new Uint8Array([0, 97, 115, 109]);
	const common = { digest: "", size: 4, language: "c" } as const;
	const script = { ...common, format: "wasm", bytes, metered: Uint8Array.of(5) } as const;
	const made = async (limits: Record<string, unknown>): Promise<string> => {
		const layout = await mkdtemp(join(work, "script-"));
		await createLayout(layout);
		const descriptor = await addInitscript(layout, script, limits);
		const { config, layers } = await readManifest(layout, descriptor);
		expect(layers.map(({ mediaType }) => mediaType)).toEqual([
			"application/vnd.headstart.initscript.v1.wasm",
			"application/vnd.headstart.initscript.v1.metered.wasm",
		]);
		expect(await readFile(blobPath(layout, layers[0]?.digest ?? ""))).toEqual(Buffer.from(bytes));
		expect(await readFile(blobPath(layout, layers[1]?.digest ?? ""))).toEqual(Buffer.of(5));
		const told: unknown = JSON.parse(await readFile(blobPath(layout, config.digest), "utf8"));
		expect(told).toEqual({ format: "wasm", limits });
		return descriptor.digest;
	};
	expect(await made({ rpcs: 3 })).toBe(await made({ rpcs: 3 }));
	expect(await made({ rpcs: 3 })).not.toBe(await made({}));
});

test("the same files give the same image, whenever it is made", async () => {
	const folder = join(work, "folder");
	await mkdir(join(folder, "data/deep"), { recursive: true });
	await writeFile(join(folder, "data/deep/b"), "two", { mode: 0o600 });
	await writeFile(join(folder, "data/a"), "one", { mode: 0o711 });
	await symlink("deep/b", join(folder, "data/link"));
	const definition = '[[files]]\nfrom = "data"\nto = "/srv"\n[config]\nenv = { B = "2", A = "1" }\n';
	await writeFile(join(folder, "headstart-image.toml"), definition);
	const one = await buildImage(folder, join(work, "one"));
	await utimes(join(folder, "data/a"), 1e9, 1e9);
	const two = await buildImage(folder, join(work, "two"));
	expect(two).toEqual(one);
	const { config, layers } = await readManifest(join(work, "one"), one.manifest);
	expect(layers).toHaveLength(1);
	const text = await readFile(blobPath(join(work, "one"), config.digest), "utf8");
	expect(JSON.parse(text)).toMatchObject({ os: "linux", config: { Env: ["A=1", "B=2"] } });
});
