import { expect, test } from "vitest";
import { parseManifest } from "../../shared/manifest.ts";
import { bundledClients } from "./clients.ts";

const taken = (app: object): ReturnType<typeof bundledClients> =>
	bundledClients(parseManifest({ name: "x", app: { command: ["python3"], ...app } }));

test("a program in another language takes nothing", async () => {
	expect(await taken({ command: ["/app/nodes", "node.txt"] })).toEqual({ files: [], env: {} });
});

test.each([
	["headstart-runtime", "f.mjs"],
	["/usr/bin/node", "f.mjs"],
	["env", "node", "f.mjs"],
])("%s takes Node's client", async (...command) => {
	const { files, env } = await taken({ command });
	expect(files.map(({ path }) => path)).toEqual(
		expect.arrayContaining([
			"node_modules/.bin/headstart-runtime",
			"node_modules/headstart/headstart.node",
			"node_modules/headstart/index.d.ts",
			"node_modules/headstart/index.js",
			"node_modules/headstart/package.json",
		]),
	);
	expect(env.PATH).toMatch(/^\/app\/node_modules\/\.bin:/);
});

test("addresses of connections for unmodified programs take the library", async () => {
	const { files, env } = await taken({ preload: ["tcp://h:1", "redis://db"] });
	expect(files.map(({ path }) => path)).toEqual(["lib/libheadstart-preload.so"]);
	expect(env).toEqual({
		LD_PRELOAD: "/app/lib/libheadstart-preload.so",
		HEADSTART_HANDOVER: "tcp://h:1,redis://db",
	});
});
